// Keys of the registry; HKLM and HKU alone, in one view.

using System;
using System.IO;
using System.Linq;
using System.Security;
using System.Security.AccessControl;
using Microsoft.Win32;

namespace WindowsDouble
{
    public class WinRegistryKey : IDisposable
    {
        internal const string StoreName = "registry";

        private readonly string path;

        private readonly bool writable;

        private bool closed;

        private WinRegistryKey(string path, bool writable)
        {
            this.path = path;
            this.writable = writable;
        }

        public int SubKeyCount => Read().Keys.Count;

        public int ValueCount => Read().Values.Count;

        public static WinRegistryKey OpenBaseKey(RegistryHive hive, RegistryView view)
        {
            if (view != RegistryView.Registry64)
            {
                World.Log("registry view " + view);
            }
            switch (hive)
            {
                case RegistryHive.LocalMachine:
                    return new WinRegistryKey("HKLM", false);
                case RegistryHive.Users:
                    return new WinRegistryKey("HKU", false);
                case RegistryHive.CurrentUser:
                    return new WinRegistryKey(@"HKU\" + Token.Sid, false);
                default:
                    throw new NotSupportedException("not imitated: hive " + hive);
            }
        }

        public WinRegistryKey OpenSubKey(string name) => OpenSubKey(name, false);

        public WinRegistryKey OpenSubKey(string name, bool writable)
        {
            var target = path + "\\" + name;
            World.Log("reg open " + target + (writable ? " rw" : ""));
            if (Store.Load<RegistryNode>(StoreName).Find(target) == null)
            {
                return null;
            }
            if (!KeyRights.Have(target, writable ? KeyRights.Write : KeyRights.Read))
            {
                throw new SecurityException("Requested registry access is not allowed.");
            }
            return new WinRegistryKey(target, writable);
        }

        public WinRegistryKey OpenSubKey(string name, RegistryRights rights)
        {
            return OpenSubKey(name, ((uint)rights & KeyRights.Write) != 0);
        }

        public WinRegistryKey OpenSubKey(string name, RegistryKeyPermissionCheck check, RegistryRights rights)
        {
            return OpenSubKey(name, rights);
        }

        /// <summary>Keys on the way are made too.</summary>
        public WinRegistryKey CreateSubKey(string name) => CreateSubKey(name, true, null);

        public WinRegistryKey CreateSubKey(string name, bool writable) => CreateSubKey(name, writable, null);

        public WinRegistryKey CreateSubKey(string name, RegistryKeyPermissionCheck check)
        {
            return CreateSubKey(name, check != RegistryKeyPermissionCheck.ReadSubTree, null);
        }

        /// <summary>The rights are those of a new key: one that exists keeps its own.</summary>
        public WinRegistryKey CreateSubKey(
            string name, RegistryKeyPermissionCheck check, WinRegistrySecurity security)
        {
            return CreateSubKey(name, check != RegistryKeyPermissionCheck.ReadSubTree, security);
        }

        public WinRegistrySecurity GetAccessControl(AccessControlSections sections)
        {
            return new WinRegistrySecurity { Sddl = KeyRights.Of(path) };
        }

        public void SetAccessControl(WinRegistrySecurity security)
        {
            World.Log("reg rights " + path + " " + security.Sddl);
            AssertOpen();
            if (!KeyRights.Have(path, Right.WriteControl))
            {
                throw Denied(path);
            }
            KeyRights.Set(path, security.Sddl);
        }

        public string[] GetSubKeyNames() => Read().Keys.Keys.ToArray();

        public string[] GetValueNames() => Read().Values.Keys.ToArray();

        public object GetValue(string name) => GetValue(name, null);

        public object GetValue(string name, object otherwise)
        {
            return GetValue(name, otherwise, RegistryValueOptions.None);
        }

        public object GetValue(string name, object otherwise, RegistryValueOptions options)
        {
            var values = Read().Values;
            var spelling = RegistryNode.Spelling(values, name);
            if (spelling == null)
            {
                return otherwise;
            }
            var value = values[spelling];
            switch (value.Kind)
            {
                case "DWord":
                    // A DWORD is unsigned, and .NET has it as an int.
                    return unchecked((int)uint.Parse(value.Text));
                case "QWord":
                    return long.Parse(value.Text);
                case "MultiString":
                    return value.Text.Split('\n');
                case "Binary":
                    return RegistryNode.FromHex(value.Text);
                default:
                    return value.Text;
            }
        }

        public void SetValue(string name, object value, RegistryValueKind kind)
        {
            Change("set " + path + " " + name + "=" + value, node =>
            {
                var spelling = RegistryNode.Spelling(node.Values, name) ?? name;
                node.Values[spelling] = new RegistryValue { Kind = kind.ToString(), Text = value.ToString() };
            });
        }

        public void DeleteValue(string name, bool throwOnMissingValue)
        {
            Change("delete value " + path + " " + name, node =>
            {
                var spelling = RegistryNode.Spelling(node.Values, name);
                if (spelling != null)
                {
                    node.Values.Remove(spelling);
                }
                else if (throwOnMissingValue)
                {
                    throw new ArgumentException("No value exists with that name.");
                }
            });
        }

        public void DeleteSubKey(string name, bool throwOnMissingSubKey)
        {
            Drop(name, throwOnMissingSubKey, false);
        }

        public void DeleteSubKeyTree(string name, bool throwOnMissingSubKey)
        {
            Drop(name, throwOnMissingSubKey, true);
        }

        public void Flush() => World.Log("reg flush " + path);

        public void Close() => Dispose();

        public void Dispose()
        {
            closed = true;
            GC.SuppressFinalize(this);
        }

        private static UnauthorizedAccessException Denied(string path)
        {
            return new UnauthorizedAccessException($"Access to the registry key '{path}' is denied.");
        }

        // ERROR_KEY_DELETED: another process has deleted a key that is open here.
        private static IOException Deleted()
        {
            return new IOException(
                "Illegal operation attempted on a registry key that has been marked for deletion.");
        }

        private WinRegistryKey CreateSubKey(string name, bool writable, WinRegistrySecurity security)
        {
            var target = path + "\\" + name;
            World.Log("reg create " + target + (security == null ? "" : " " + security.Sddl));
            if (!KeyRights.Have(target, KeyRights.Write))
            {
                throw Denied(target);
            }
            Store.Change<RegistryNode>(StoreName, root =>
            {
                var existed = root.Find(target) != null;
                var node = root.Make(target);
                if (!existed && security != null)
                {
                    node.Security = security.Sddl;
                }
            });
            return new WinRegistryKey(target, writable);
        }

        private void AssertOpen()
        {
            if (closed)
            {
                throw new ObjectDisposedException("RegistryKey");
            }
        }

        private RegistryNode Read()
        {
            AssertOpen();
            return Store.Load<RegistryNode>(StoreName).Find(path) ?? throw Deleted();
        }

        private void Change(string what, Action<RegistryNode> change)
        {
            World.Log("reg " + what);
            AssertOpen();
            if (!writable)
            {
                throw new UnauthorizedAccessException("Cannot write to the registry key.");
            }
            Store.Change<RegistryNode>(StoreName, root => change(root.Find(path) ?? throw Deleted()));
        }

        private void Drop(string name, bool throwOnMissing, bool tree)
        {
            var target = path + "\\" + name;
            World.Log("reg drop " + target);
            if (!KeyRights.Have(target, Right.Delete))
            {
                throw new UnauthorizedAccessException("Cannot write to the registry key.");
            }
            Store.Change<RegistryNode>(StoreName, root =>
            {
                var slash = target.LastIndexOf('\\');
                var above = root.Find(target.Substring(0, slash));
                var spelling = above == null
                    ? null
                    : RegistryNode.Spelling(above.Keys, target.Substring(slash + 1));
                if (spelling == null)
                {
                    if (throwOnMissing)
                    {
                        throw new ArgumentException(
                            "Cannot delete a subkey tree because the subkey does not exist.");
                    }
                    return;
                }
                if (!tree && above.Keys[spelling].Keys.Count > 0)
                {
                    throw new InvalidOperationException(
                        "Registry key has subkeys and recursive removes are not supported by this method.");
                }
                above.Keys.Remove(spelling);
            });
        }
    }
}
