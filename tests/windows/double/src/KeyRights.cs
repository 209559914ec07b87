// Who may do what with keys of the registry.

using System;

namespace WindowsDouble
{
    public static class KeyRights
    {
        public const uint Read = 0x20019;
        public const uint Write = 0x20006;

        private const string Machine = "O:BAD:(A;CI;KA;;;BA)(A;CI;KA;;;SY)(A;CI;KR;;;BU)";

        /// <summary>The rights of a key or of the nearest key above that has its own.</summary>
        public static string Of(string path) => Find(path, out _);

        public static bool Have(string path, uint mask)
        {
            var text = Find(path, out var own);
            return (Sddl.Given(text, own ? null : "CI") & mask) == mask;
        }

        public static void Set(string path, string sddl)
        {
            Rights.AssertOwner(sddl);
            Store.Change<RegistryNode>(WinRegistryKey.StoreName, root => root.Make(path).Security = sddl);
        }

        private static string Find(string path, out bool own)
        {
            var root = Store.Load<RegistryNode>(WinRegistryKey.StoreName);
            var text = root.Find(path)?.Security;
            own = text != null;
            for (var slash = path.LastIndexOf('\\'); text == null && slash > 0;)
            {
                text = root.Find(path.Substring(0, slash))?.Security;
                slash = path.LastIndexOf('\\', slash - 1);
            }
            return text ?? Usual(path);
        }

        // HKLM is for administrators to write, a user's hive for that user too.
        private static string Usual(string path)
        {
            var parts = path.Split('\\');
            return parts[0].Equals("HKU", StringComparison.OrdinalIgnoreCase) && parts.Length > 1
                ? Machine + "(A;CI;KA;;;" + parts[1] + ")"
                : Machine;
        }
    }
}
