// Folders.

using System;
using System.IO;
using System.Linq;
using System.Security.AccessControl;

namespace WindowsDouble
{
    public static class WinDirectory
    {
        public static bool Exists(string path)
        {
            return !string.IsNullOrEmpty(path) && Directory.Exists(World.Map(path));
        }

        public static DirectoryInfo CreateDirectory(string path)
        {
            World.Log("CreateDirectory " + path);
            if (!Exists(path))
            {
                if (WinFile.Exists(path))
                {
                    throw FileError.Exists(
                        $"Cannot create \"{path}\" because a file with the same name already exists.", 0xB7);
                }
                var above = WinPath.Parent(path);
                while (World.OnDrive(above) && !Exists(above) && above.Contains('\\'))
                {
                    above = WinPath.Parent(above);
                }
                Rights.Need(above, Right.AddFolder);
            }
            return Directory.CreateDirectory(World.Map(path));
        }

        /// <summary>The rights are those of a new folder: one that is there keeps its own.</summary>
        public static DirectoryInfo CreateDirectory(string path, WinDirectorySecurity security)
        {
            var existed = Exists(path);
            var folder = CreateDirectory(path);
            if (!existed)
            {
                Rights.Set(path, security.Sddl);
            }
            return folder;
        }

        public static void Delete(string path)
        {
            World.Log("Directory.Delete " + path);
            AssertExists(path);
            Rights.NeedToDelete(path);
            var folder = World.Map(path);
            if (Linux.LinkTarget(folder) != null)
            {
                File.Delete(folder);
                return;
            }
            if (Directory.EnumerateFileSystemEntries(folder).Any())
            {
                throw new IOException("The directory is not empty.", unchecked((int)0x80070091));
            }
            Directory.Delete(folder);
            Rights.Forget(path);
        }

        public static string[] GetFiles(string path) => GetFiles(path, "*");

        public static string[] GetFiles(string path, string pattern)
        {
            AssertExists(path);
            return Names(path, Directory.GetFiles(World.Map(path), pattern));
        }

        public static string[] GetDirectories(string path)
        {
            AssertExists(path);
            return Names(path, Directory.GetDirectories(World.Map(path)));
        }

        public static string[] GetFileSystemEntries(string path)
        {
            AssertExists(path);
            return Names(path, Directory.GetFileSystemEntries(World.Map(path)));
        }

        public static WinDirectorySecurity GetAccessControl(string path, AccessControlSections sections)
        {
            AssertExists(path);
            Rights.Need(path, Right.ReadControl);
            return new WinDirectorySecurity { Sddl = Rights.Of(path) };
        }

        public static void SetAccessControl(string path, WinDirectorySecurity security)
        {
            World.Log("SetAccessControl " + path + " " + security.Sddl);
            AssertExists(path);
            Rights.Need(path, Right.WriteControl);
            Rights.Set(path, security.Sddl);
        }

        private static void AssertExists(string path)
        {
            if (!Exists(path))
            {
                throw FileError.NoFolder(path);
            }
        }

        private static string[] Names(string folder, string[] entries)
        {
            var separator = folder.StartsWith('/') ? "/" : "\\";
            var start = folder.TrimEnd('\\', '/') + separator;
            return entries.Select(entry => start + Path.GetFileName(entry)).ToArray();
        }
    }
}
