// Who runs this: what an access token says.

using System;
using System.Collections.Generic;
using System.Linq;

namespace WindowsDouble
{
    /// <summary>
    /// The token of this process, as text: sid=S-1-...;elevated=0;admin=1;session=1. Admin: the account is
    /// an administrator's, elevated or not. Session 0 is that of services.
    /// </summary>
    public static class Token
    {
        public const string LocalSystem = "S-1-5-18";

        private const string Usual =
            "sid=S-1-5-21-1111111111-2222222222-3333333333-1001;elevated=0;admin=1;session=1";

        private static readonly Dictionary<string, string> Fields =
            (Environment.GetEnvironmentVariable("WINDOWS_DOUBLE_TOKEN") ?? World.Conf("token", Usual))
            .Split(';')
            .Select(field => field.Split('='))
            .ToDictionary(pair => pair[0], pair => pair[1]);

        public static string Sid => Fields["sid"];

        public static bool IsElevated => Fields["elevated"] == "1";

        public static bool IsAdministrator => Fields.GetValueOrDefault("admin") == "1";

        public static int Session => int.Parse(Fields["session"]);

        public static bool IsSystem => Sid == LocalSystem;

        /// <summary>What runs this, as the switch "kill" has it: a task, a program of ours, or a person.</summary>
        public static string Kind => IsSystem
            ? "task"
            : Environment.GetEnvironmentVariable("WINDOWS_DOUBLE_STARTED") == null ? "caller" : "setup";

        public static string Text(string sid, bool elevated, int session)
        {
            return $"sid={sid};elevated={(elevated ? 1 : 0)};admin=1;session={session}";
        }

        /// <summary>Whether an entry of an access list for this SID or short name is about us.</summary>
        public static bool Is(string sid)
        {
            switch (sid)
            {
                case "BA":
                case WinSid.Administrators:
                    // Not elevated, an administrator has this group for refusals only.
                    return IsElevated || IsSystem;
                case "SY":
                case LocalSystem:
                    return IsSystem;
                case "BU":
                case "WD":
                case "AU":
                case "IU":
                    return true;
                default:
                    return sid == Sid;
            }
        }
    }
}
