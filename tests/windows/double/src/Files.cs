// Files: rights, sharing, read-only marks, links.

using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text;

namespace WindowsDouble
{
    /// <summary>The errors of Windows, with its numbers: scripts tell causes apart by them.</summary>
    public static class FileError
    {
        public const int SharingViolation = unchecked((int)0x80070020);

        // What .NET has on Linux where another process holds the lock of a file: EWOULDBLOCK.
        private const int WouldBlock = 11;

        public static bool IsLocked(IOException error) => error.HResult == WouldBlock;

        public static IOException InUse(string path)
        {
            return new IOException(
                $"The process cannot access the file '{path}' because it is being used by another process.",
                SharingViolation);
        }

        public static FileNotFoundException NoFile(string path)
        {
            return new FileNotFoundException($"Could not find file '{path}'.", path);
        }

        public static DirectoryNotFoundException NoFolder(string path)
        {
            return new DirectoryNotFoundException($"Could not find a part of the path '{path}'.");
        }

        /// <summary>ERROR_ALREADY_EXISTS is 0xB7, ERROR_FILE_EXISTS is 0x50.</summary>
        public static IOException Exists(string message, int code)
        {
            return new IOException(message, unchecked((int)0x80070000) | code);
        }
    }

    public static class WinFile
    {
        private const string AttributeStore = "attributes";

        public static bool Exists(string path) => !string.IsNullOrEmpty(path) && File.Exists(World.Map(path));

        public static void Delete(string path)
        {
            World.Log("File.Delete " + path);
            if (WinDirectory.Exists(path))
            {
                World.Deny(path);
            }
            if (!Exists(path))
            {
                if (!WinDirectory.Exists(WinPath.Parent(path)))
                {
                    throw FileError.NoFolder(path);
                }
                return;
            }
            Rights.NeedToDelete(path);
            if ((StoredAttributes(path) & FileAttributes.ReadOnly) != 0)
            {
                World.Deny(path);
            }
            AssertFree(path);
            File.Delete(World.Map(path));
            Rights.Forget(path);
            ForgetAttributes(path);
        }

        public static void Move(string from, string to)
        {
            World.Log("File.Move " + from + " -> " + to);
            if (!Exists(from))
            {
                throw FileError.NoFile(from);
            }
            if (Exists(to))
            {
                throw FileError.Exists("Cannot create a file when that file already exists.", 0xB7);
            }
            Rights.NeedToDelete(from);
            Rights.Need(WinPath.Parent(to), Right.AddFile);
            var attributes = StoredAttributes(from);
            File.Move(World.Map(from), World.Map(to));
            Rights.Move(from, to);
            ForgetAttributes(from);
            StoreAttributes(to, attributes);
        }

        /// <summary>As ReplaceFile: the new contents come under the rights of the file that goes.</summary>
        public static void Replace(string from, string to, string backup)
        {
            World.Log("File.Replace " + from + " -> " + to);
            if (!string.IsNullOrEmpty(backup))
            {
                throw new NotSupportedException("not imitated: a backup of the replaced file");
            }
            if (!Exists(from) || !Exists(to))
            {
                throw new FileNotFoundException("Unable to find the specified file.");
            }
            Rights.NeedToDelete(to);
            AssertFree(to);
            File.Move(World.Map(from), World.Map(to), true);
            Rights.Forget(from);
            ForgetAttributes(from);
        }

        public static FileStream OpenRead(string path)
        {
            return new WinFileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read);
        }

        public static byte[] ReadAllBytes(string path)
        {
            using (var stream = OpenRead(path))
            {
                var memory = new MemoryStream();
                stream.CopyTo(memory);
                return memory.ToArray();
            }
        }

        public static string ReadAllText(string path)
        {
            return Encoding.UTF8.GetString(ReadAllBytes(path)).TrimStart('\uFEFF');
        }

        public static string ReadAllText(string path, Encoding encoding)
        {
            return encoding.GetString(ReadAllBytes(path));
        }

        public static void WriteAllBytes(string path, byte[] bytes)
        {
            using (var stream = new WinFileStream(path, FileMode.Create, FileAccess.Write, FileShare.Read))
            {
                stream.Write(bytes, 0, bytes.Length);
            }
        }

        public static void WriteAllText(string path, string text)
        {
            WriteAllText(path, text, new UTF8Encoding(false));
        }

        public static void WriteAllText(string path, string text, Encoding encoding)
        {
            WriteAllBytes(path, encoding.GetPreamble().Concat(encoding.GetBytes(text)).ToArray());
        }

        /// <summary>A symbolic link of Linux shows as a reparse point.</summary>
        public static FileAttributes GetAttributes(string path)
        {
            var file = new FileInfo(World.Map(path));
            var link = Linux.LinkTarget(file.FullName) != null ? FileAttributes.ReparsePoint : 0;
            if (WinDirectory.Exists(path))
            {
                return FileAttributes.Directory | link;
            }
            if (!file.Exists && link == 0)
            {
                throw WinDirectory.Exists(WinPath.Parent(path))
                    ? (IOException)FileError.NoFile(path)
                    : FileError.NoFolder(path);
            }
            return StoredAttributes(path) | link;
        }

        public static void SetAttributes(string path, FileAttributes attributes)
        {
            GetAttributes(path);
            Rights.Need(path, Right.WriteAttributes);
            StoreAttributes(path, attributes);
        }

        // Only what is not usual is stored.
        private static void StoreAttributes(string path, FileAttributes attributes)
        {
            if (attributes != StoredAttributes(path))
            {
                Store.Change<Dictionary<string, int>>(
                    AttributeStore, all => all[World.Key(path)] = (int)attributes);
            }
        }

        private static void ForgetAttributes(string path) => StoreAttributes(path, FileAttributes.Archive);

        private static FileAttributes StoredAttributes(string path)
        {
            var all = Store.Load<Dictionary<string, int>>(AttributeStore);
            return all.TryGetValue(World.Key(path), out var bits)
                ? (FileAttributes)bits
                : FileAttributes.Archive;
        }

        // Windows neither deletes nor replaces a file that is held open without sharing it.
        private static void AssertFree(string path)
        {
            try
            {
                new FileStream(World.Map(path), FileMode.Open, FileAccess.Read, FileShare.None).Dispose();
            }
            catch (IOException error) when (FileError.IsLocked(error))
            {
                throw FileError.InUse(path);
            }
        }
    }
}
