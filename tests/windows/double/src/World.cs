// The folder that a world is: its log, its switches, its points of failure, and the paths of its drive C.

using System;
using System.IO;
using System.Linq;
using System.Threading;

namespace WindowsDouble
{
    public static class World
    {
        public static readonly string Root =
            Environment.GetEnvironmentVariable("WINDOWS_DOUBLE_ROOT") ?? "/run/windows-double";

        /// <summary>Where the double's own programs are: beside this assembly.</summary>
        public static readonly string Tools = Path.GetDirectoryName(typeof(World).Assembly.Location);

        private static int calls;

        /// <summary>Notes what was asked of Windows; then the process may be made to end here.</summary>
        public static void Log(string text)
        {
            Append(text);
            calls += 1;
            EndHere();
        }

        /// <summary>A switch: the text of a file below conf, or the value for where there is none.</summary>
        public static string Conf(string name, string otherwise)
        {
            var path = Root + "/conf/" + name;
            try
            {
                return File.Exists(path) ? File.ReadAllText(path).Trim() : otherwise;
            }
            catch (Exception error) when (error is IOException || error is UnauthorizedAccessException)
            {
                return otherwise;
            }
        }

        /// <summary>Waits as many milliseconds as a switch says.</summary>
        public static void Delay(string name)
        {
            Thread.Sleep(int.Parse(Conf(name, "0")));
        }

        /// <summary>The key of a Windows path in a store: Windows does not tell cases apart.</summary>
        public static string Key(string path)
        {
            return path.Replace('/', '\\').TrimEnd('\\').ToLowerInvariant();
        }

        /// <summary>Whether a path is on a drive of Windows, so that rights count.</summary>
        public static bool OnDrive(string path)
        {
            return path.Length > 1 && char.IsLetter(path[0]) && path[1] == ':';
        }

        /// <summary>
        /// A Windows path as one of Linux. Drives are below the root folder, the shares of WSL are the
        /// files of this machine, and a path of Linux may have backslashes in it.
        /// </summary>
        public static string Map(string path)
        {
            if (path == null)
            {
                throw new ArgumentNullException("path");
            }
            foreach (var share in new[] { @"\\wsl.localhost\", @"\\wsl$\" })
            {
                if (path.StartsWith(share, StringComparison.OrdinalIgnoreCase))
                {
                    var rest = path.Substring(share.Length);
                    var slash = rest.IndexOf('\\');
                    return slash < 0 ? "/" : rest.Substring(slash).Replace('\\', '/');
                }
            }
            if (OnDrive(path))
            {
                var drive = Root + "/" + char.ToLowerInvariant(path[0]);
                return FindCase(drive, path.Substring(2).Replace('\\', '/'));
            }
            return path.Replace('\\', '/');
        }

        /// <summary>The Windows path of a file on drive C; other files keep their path.</summary>
        public static string Unmap(string path)
        {
            var drive = Root + "/c/";
            return path.StartsWith(drive) ? @"C:\" + path.Substring(drive.Length).Replace('/', '\\') : path;
        }

        public static void Deny(string what)
        {
            Log("DENIED " + what);
            throw new UnauthorizedAccessException("Access to the path '" + what + "' is denied.");
        }

        // Each part as it is written on disk, whatever its case; a part that does not exist is kept.
        private static string FindCase(string folder, string rest)
        {
            foreach (var part in rest.Split('/', StringSplitOptions.RemoveEmptyEntries))
            {
                var next = folder + "/" + part;
                if (!File.Exists(next) && Directory.Exists(folder) && !Directory.Exists(next))
                {
                    next = Directory.EnumerateFileSystemEntries(folder).FirstOrDefault(entry =>
                        Path.GetFileName(entry).Equals(part, StringComparison.OrdinalIgnoreCase)) ?? next;
                }
                folder = next;
            }
            return folder;
        }

        // A log that cannot be written stops nothing.
        private static void Append(string text)
        {
            try
            {
                File.AppendAllText(Root + "/log", $"{DateTime.Now:HH:mm:ss.fff} {Linux.ProcessId} {text}\n");
            }
            catch (Exception error) when (error is IOException || error is UnauthorizedAccessException)
            {
            }
        }

        // The switch "kill", WHO N: the Nth call of the first such process is its last. It fires once.
        private static void EndHere()
        {
            var words = Conf("kill", "").Split(' ');
            if (words.Length == 2 && words[0] == Token.Kind && calls == int.Parse(words[1]))
            {
                File.Delete(Root + "/conf/kill");
                Append("KILLED here");
                Linux.EndThisProcess();
            }
        }
    }
}
