// Security descriptors in their text form ([MS-DTYP] 2.5.1).

using System;
using System.Collections.Generic;
using System.Linq;
using System.Text.RegularExpressions;

namespace WindowsDouble
{
    /// <summary>Bits of an access mask. Some mean one thing for a file and another for a folder.</summary>
    public static class Right
    {
        public const uint ReadData = 0x1;
        public const uint AddFile = 0x2;
        public const uint AddFolder = 0x4;
        public const uint Execute = 0x20;
        public const uint DeleteChild = 0x40;
        public const uint WriteAttributes = 0x100;
        public const uint Delete = 0x10000;
        public const uint ReadControl = 0x20000;
        public const uint WriteControl = 0x40000;
        public const uint Synchronize = 0x100000;
        public const uint Read = 0x120089;
        public const uint Write = 0x120116;
        public const uint All = 0x1F01FF;
    }

    /// <summary>A security descriptor: an owner, and entries that allow or deny.</summary>
    public static class Sddl
    {
        private static readonly Regex Form = new Regex(
            @"^(O:[A-Z0-9-]+?)?(G:[A-Z0-9-]+?)?(D:(P|AI|AR)*(\((A|D);[A-Z]*;[^;()]+;;;[^;()]+\))*)?$");

        private static readonly Regex Entry = new Regex(@"\((A|D);([A-Z]*);([^;]*);;;([^)]*)\)");

        private static readonly Regex OwnerForm = new Regex("^O:(BA|SY|S-1-[0-9-]+)");

        private static readonly Dictionary<string, uint> Words = new Dictionary<string, uint>
        {
            ["FA"] = Right.All,
            ["FR"] = Right.Read,
            ["FW"] = Right.Write,
            ["FX"] = 0x1200A0,
            ["GA"] = Right.All,
            ["GR"] = Right.Read,
            ["GW"] = Right.Write,
            ["GX"] = 0x1200A0,
            ["KA"] = 0xF003F,
            ["KR"] = 0x20019,
            ["KW"] = 0x20006,
            ["KX"] = 0x20019,
        };

        public static void Check(string text)
        {
            if (!Form.IsMatch(text))
            {
                throw new ArgumentException(
                    "The SDDL form of a security descriptor object is invalid.", "sddlForm");
            }
            foreach (Match entry in Entry.Matches(text))
            {
                Mask(entry.Groups[3].Value);
            }
        }

        /// <summary>The owner's SID; one that is not named is the system.</summary>
        public static string Owner(string text)
        {
            var owner = OwnerForm.Match(text).Groups[1].Value;
            switch (owner)
            {
                case "BA":
                    return WinSid.Administrators;
                case "":
                case "SY":
                    return Token.LocalSystem;
                default:
                    return owner;
            }
        }

        /// <summary>
        /// What the descriptor gives to the token of this process. Entries count in their order, as Windows
        /// takes them. Inherited: the flag by which an entry of a folder or key counts for what is below
        /// it, OI for files and CI for keys; null for the object that has the descriptor.
        /// </summary>
        public static uint Given(string text, string inherited)
        {
            uint allowed = 0;
            uint denied = 0;
            var any = false;
            foreach (Match entry in Entry.Matches(text))
            {
                if (inherited != null && !entry.Groups[2].Value.Contains(inherited))
                {
                    continue;
                }
                any = true;
                if (!Token.Is(entry.Groups[4].Value))
                {
                    continue;
                }
                var mask = Mask(entry.Groups[3].Value);
                if (entry.Groups[1].Value == "A")
                {
                    allowed |= mask & ~denied;
                }
                else
                {
                    denied |= mask & ~allowed;
                }
            }
            if (inherited != null && !any)
            {
                // With nothing to inherit an object gets the default list of the token that made it.
                return Token.IsElevated ? Right.All : 0;
            }
            return allowed;
        }

        // A number, or words of two letters one after the other.
        private static uint Mask(string text)
        {
            if (text.StartsWith("0x"))
            {
                return Convert.ToUInt32(text, 16);
            }
            uint mask = 0;
            for (var at = 0; at < text.Length; at += 2)
            {
                if (at + 2 > text.Length || !Words.TryGetValue(text.Substring(at, 2), out var bits))
                {
                    throw new ArgumentException(
                        "The SDDL form of a security descriptor object is invalid: " + text);
                }
                mask |= bits;
            }
            return mask;
        }
    }
}
