// Who may do what with files and folders, by path.

using System;
using System.Collections.Generic;
using System.Linq;

namespace WindowsDouble
{
    /// <summary>
    /// The rights of files and folders, by path. One without an entry has that of a folder above.
    /// </summary>
    public static class Rights
    {
        private const string Default = "O:SYD:(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)(A;OICI;0x1200a9;;;BU)";

        private const string StoreName = "acl";

        public static string Of(string path)
        {
            return Find(path, out _);
        }

        public static bool Have(string path, uint mask)
        {
            var text = Find(path, out var own);
            return (Sddl.Given(text, own ? null : "OI") & mask) == mask;
        }

        public static void Need(string path, uint mask)
        {
            if (World.OnDrive(path) && !Have(path, mask))
            {
                World.Deny(path);
            }
        }

        /// <summary>To delete needs the right on the object or on the folder that it is in.</summary>
        public static void NeedToDelete(string path)
        {
            if (World.OnDrive(path)
                && !Have(path, Right.Delete)
                && !Have(WinPath.Parent(path), Right.DeleteChild))
            {
                World.Deny(path);
            }
        }

        /// <summary>Without administrator rights an object can be given to no other account.</summary>
        public static void AssertOwner(string sddl)
        {
            if (!Token.IsElevated && !Token.Is(Sddl.Owner(sddl)))
            {
                throw new InvalidOperationException(
                    "The security identifier is not allowed to be the owner of this object.");
            }
        }

        public static void Set(string path, string sddl)
        {
            AssertOwner(sddl);
            Store.Change<Dictionary<string, string>>(StoreName, all => all[World.Key(path)] = sddl);
        }

        public static void Forget(string path)
        {
            var key = World.Key(path);
            Store.Change<Dictionary<string, string>>(StoreName, all =>
            {
                foreach (var gone in all.Keys.Where(k => k == key || k.StartsWith(key + "\\")).ToList())
                {
                    all.Remove(gone);
                }
            });
        }

        /// <summary>A file that is moved keeps a list of its own.</summary>
        public static void Move(string from, string to)
        {
            Store.Change<Dictionary<string, string>>(StoreName, all =>
            {
                all.Remove(World.Key(to));
                if (all.Remove(World.Key(from), out var sddl))
                {
                    all[World.Key(to)] = sddl;
                }
            });
        }

        private static string Find(string path, out bool own)
        {
            var all = Store.Load<Dictionary<string, string>>(StoreName);
            var key = World.Key(path);
            own = all.TryGetValue(key, out var sddl);
            for (var slash = key.LastIndexOf('\\'); sddl == null && slash > 0;)
            {
                all.TryGetValue(key.Substring(0, slash), out sddl);
                slash = key.LastIndexOf('\\', slash - 1);
            }
            return sddl ?? Default;
        }
    }
}
