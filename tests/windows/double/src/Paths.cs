// Paths of Windows.

using System;
using System.IO;

namespace WindowsDouble
{
    public static class WinPath
    {
        private static readonly char[] Separators = { '\\', '/' };

        public static string Combine(params string[] parts)
        {
            var path = "";
            foreach (var part in parts)
            {
                if (part == null)
                {
                    throw new ArgumentNullException("path");
                }
                if (path == "" || part.StartsWith('\\') || part.StartsWith('/') || World.OnDrive(part))
                {
                    path = part;
                }
                else if (path.EndsWith('\\') || path.EndsWith('/'))
                {
                    path += part;
                }
                else
                {
                    // A path of Linux, as that of a script on a share of WSL, stays one.
                    path += (path.Contains('/') && !path.Contains('\\') ? "/" : "\\") + part;
                }
            }
            return path;
        }

        public static string Parent(string path)
        {
            var text = path.Replace('/', '\\').TrimEnd('\\');
            var slash = text.LastIndexOf('\\');
            return slash > 0 ? text.Substring(0, slash) : text;
        }

        public static string GetDirectoryName(string path)
        {
            var slash = path.LastIndexOfAny(Separators);
            return slash < 0 ? "" : path.Substring(0, slash);
        }

        public static string GetFileName(string path) => path.Substring(path.LastIndexOfAny(Separators) + 1);

        public static string GetExtension(string path) => Path.GetExtension(path);

        public static string GetFullPath(string path) => path;

        public static string GetRandomFileName() => Path.GetRandomFileName();

        public static string GetTempPath()
        {
            return Token.IsSystem
                ? @"C:\Windows\Temp\"
                : WinEnvironment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData) + @"\Temp\";
        }
    }
}
