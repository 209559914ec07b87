// Open files.

using System;
using System.IO;
using System.Security.AccessControl;
using Microsoft.Win32.SafeHandles;

namespace WindowsDouble
{
    public class WinFileStream : FileStream
    {
        // Everything on a drive of Windows can be run.
        private const uint ProgramMode = 0x1ED; // 0755

        public WinFileStream(string path, FileMode mode, FileAccess access)
            : this(path, mode, access, FileShare.Read)
        {
        }

        public WinFileStream(string path, FileMode mode, FileAccess access, FileShare share)
            : base(Open(path, mode, access, share, Mask(access), null), access)
        {
        }

        /// <summary>The constructor of .NET Framework: a new file is born with its access list.</summary>
        public WinFileStream(
            string path,
            FileMode mode,
            FileSystemRights rights,
            FileShare share,
            int bufferSize,
            FileOptions options,
            WinFileSecurity security)
            : base(
                Open(path, mode, Access(rights), share, (uint)rights | Right.Synchronize, security),
                Access(rights))
        {
        }

        private static SafeFileHandle Open(
            string path,
            FileMode mode,
            FileAccess access,
            FileShare share,
            uint mask,
            WinFileSecurity security)
        {
            World.Log($"open {path} {mode} {access} {share}");
            if (WinDirectory.Exists(path))
            {
                World.Deny(path);
            }
            var exists = WinFile.Exists(path);
            if (!exists && !WinDirectory.Exists(WinPath.Parent(path)))
            {
                throw FileError.NoFolder(path);
            }
            if (!exists && (mode == FileMode.Open || mode == FileMode.Truncate))
            {
                throw FileError.NoFile(path);
            }
            if (exists && mode == FileMode.CreateNew)
            {
                throw FileError.Exists($"The file '{path}' already exists.", 0x50);
            }
            if (exists)
            {
                Rights.Need(path, mask);
            }
            else
            {
                Rights.Need(WinPath.Parent(path), Right.AddFile);
            }
            var handle = OpenHandle(path, mode, access, share);
            if (!exists && World.OnDrive(path))
            {
                Linux.SetMode(handle, ProgramMode);
            }
            if (!exists && security != null)
            {
                Rights.Set(path, security.Sddl);
            }
            return handle;
        }

        // Sharing is that of .NET on Linux: among programs of .NET, and without FileShare.Delete.
        private static SafeFileHandle OpenHandle(
            string path, FileMode mode, FileAccess access, FileShare share)
        {
            try
            {
                return Linux.Open(World.Map(path), mode, access, share & FileShare.ReadWrite);
            }
            catch (IOException error) when (FileError.IsLocked(error))
            {
                throw FileError.InUse(path);
            }
        }

        private static FileAccess Access(FileSystemRights rights)
        {
            if ((rights & FileSystemRights.WriteData) == 0)
            {
                return FileAccess.Read;
            }
            return (rights & FileSystemRights.ReadData) != 0 ? FileAccess.ReadWrite : FileAccess.Write;
        }

        private static uint Mask(FileAccess access)
        {
            switch (access)
            {
                case FileAccess.Read:
                    return Right.Read;
                case FileAccess.Write:
                    return Right.Write;
                default:
                    return Right.Read | Right.Write;
            }
        }
    }
}
