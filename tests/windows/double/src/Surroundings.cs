// What Windows tells a program of its surroundings: folders, variables, the session.

using System;
using System.Collections.Generic;
using System.Text.RegularExpressions;

namespace WindowsDouble
{
    public static class WinEnvironment
    {
        private static readonly Dictionary<string, string> Variables = new Dictionary<string, string>
        {
            ["%SystemRoot%"] = @"C:\Windows",
            ["%windir%"] = @"C:\Windows",
            ["%ProgramFiles%"] = @"C:\Program Files",
            ["%SystemDrive%"] = "C:",
        };

        public static string SystemDirectory => @"C:\Windows\System32";

        public static bool UserInteractive => Token.Session != 0;

        /// <summary>That of Windows 11 23H2.</summary>
        public static OperatingSystem OSVersion =>
            new OperatingSystem(PlatformID.Win32NT, new Version(10, 0, 22631, 0));

        public static string NewLine => "\r\n";

        public static int TickCount => Environment.TickCount;

        public static string GetFolderPath(Environment.SpecialFolder folder)
        {
            switch (folder)
            {
                case Environment.SpecialFolder.ProgramFiles:
                    return @"C:\Program Files";
                case Environment.SpecialFolder.Windows:
                    return @"C:\Windows";
                case Environment.SpecialFolder.System:
                    return SystemDirectory;
                case Environment.SpecialFolder.LocalApplicationData:
                    return Token.IsSystem
                        ? @"C:\Windows\system32\config\systemprofile\AppData\Local"
                        : World.Conf("localappdata-" + Token.Sid, @"C:\Users\x\AppData\Local");
                default:
                    throw new NotSupportedException("not imitated: folder " + folder);
            }
        }

        public static string ExpandEnvironmentVariables(string text)
        {
            foreach (var (name, value) in Variables)
            {
                text = Regex.Replace(text, name, value, RegexOptions.IgnoreCase);
            }
            return text;
        }
    }
}
