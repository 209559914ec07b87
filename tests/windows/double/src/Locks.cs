// Named mutexes: a locked file of the world for each, so that nothing is left elsewhere.

using System;
using System.Diagnostics;
using System.IO;
using System.Threading;

namespace WindowsDouble
{
    public sealed class WinMutex : IDisposable
    {
        private const string Global = @"Global\";

        private readonly string path;

        private FileStream file;

        public WinMutex(bool initiallyOwned, string name)
        {
            World.Log("mutex " + name);
            var folder = World.Root + "/mutexes";
            Directory.CreateDirectory(folder);
            path = folder + "/" + Scope(name).Replace('/', '-');
            if (initiallyOwned)
            {
                WaitOne(0);
            }
        }

        public bool WaitOne() => WaitOne(Timeout.Infinite);

        /// <summary>A holder that ended without a release left its mark: the lock is had, and that is said.</summary>
        public bool WaitOne(int milliseconds)
        {
            var clock = Stopwatch.StartNew();
            while (!TryOpen())
            {
                if (milliseconds != Timeout.Infinite && clock.ElapsedMilliseconds >= milliseconds)
                {
                    return false;
                }
                Thread.Sleep(20);
            }
            var isAbandoned = file.Length > 0;
            file.WriteByte((byte)'x');
            file.Flush();
            if (isAbandoned)
            {
                throw new AbandonedMutexException();
            }
            return true;
        }

        public void ReleaseMutex()
        {
            if (file == null)
            {
                throw new ApplicationException(
                    "Object synchronization method was called from an unsynchronized block of code.");
            }
            file.SetLength(0);
            file.Dispose();
            file = null;
        }

        public void Close() => Dispose();

        public void Dispose()
        {
            file?.Dispose();
            file = null;
        }

        // Without the prefix Global a name is one of the logon session.
        private static string Scope(string name)
        {
            return name.StartsWith(Global) ? name.Substring(Global.Length) : Token.Session + "-" + name;
        }

        private bool TryOpen()
        {
            try
            {
                file = new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
                return true;
            }
            catch (IOException)
            {
                return false;
            }
        }
    }
}
