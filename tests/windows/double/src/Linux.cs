// What .NET Core 3.1, the runtime of PowerShell 7.0, cannot ask of Linux by itself.

using System;
using System.Diagnostics;
using System.IO;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace WindowsDouble
{
    internal static class Linux
    {
        public static readonly int ProcessId = Process.GetCurrentProcess().Id;

        private const int KillSignal = 9;

        // A stream that is collected would close the handle that was taken from it.
        private static readonly ConditionalWeakTable<SafeFileHandle, FileStream> Streams =
            new ConditionalWeakTable<SafeFileHandle, FileStream>();

        /// <summary>As TerminateProcess: nothing of this process runs any more.</summary>
        public static void EndThisProcess() => kill(ProcessId, KillSignal);

        /// <summary>Where a symbolic link leads; null for anything else.</summary>
        public static string LinkTarget(string path)
        {
            var buffer = new byte[4096];
            var length = (int)readlink(path, buffer, (IntPtr)buffer.Length);
            return length < 0 ? null : Encoding.UTF8.GetString(buffer, 0, length);
        }

        public static void SetMode(SafeFileHandle file, uint mode)
        {
            if (fchmod(file, mode) != 0)
            {
                throw new IOException("fchmod: " + Marshal.GetLastWin32Error());
            }
        }

        public static SafeFileHandle Open(string path, FileMode mode, FileAccess access, FileShare share)
        {
            var stream = new FileStream(path, mode, access, share, 1);
            var handle = stream.SafeFileHandle;
            Streams.Add(handle, stream);
            GC.SuppressFinalize(stream);
            return handle;
        }

        [DllImport("libc", SetLastError = true)]
        private static extern int fchmod(SafeFileHandle file, uint mode);

        [DllImport("libc", SetLastError = true)]
        private static extern int kill(int process, int signal);

        [DllImport("libc", SetLastError = true)]
        private static extern IntPtr readlink(string path, byte[] buffer, IntPtr size);
    }
}
