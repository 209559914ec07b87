// The firewall of guests (Hyper-V), for the module NetSecurity.

using System;
using System.Collections.Generic;
using System.Linq;
using System.Net;

namespace WindowsDouble
{
    public class HyperVRule
    {
        public string Name { get; set; }

        public string DisplayName { get; set; }

        public string Direction { get; set; }

        public string VMCreatorId { get; set; }

        public string Protocol { get; set; }

        public string[] LocalAddresses { get; set; }

        public string[] LocalPorts { get; set; }

        public string[] RemoteAddresses { get; set; }

        public string[] RemotePorts { get; set; }

        public string Action { get; set; }

        public string Enabled { get; set; }

        public string Profiles { get; set; }
    }

    /// <summary>The firewall of guests: rules by unique names, in the persistent store.</summary>
    public static class HyperVFirewall
    {
        private const string StoreName = "hyperv";

        public static HyperVRule[] All() => Store.Load<List<HyperVRule>>(StoreName).ToArray();

        public static string NotFound(string name)
        {
            return "No MSFT_NetFirewallHyperVRule objects found with property 'InstanceID' equal to "
                + $"'{name}'.";
        }

        public static void Add(HyperVRule rule)
        {
            var none = new string[0];
            foreach (var text in (rule.LocalAddresses ?? none).Concat(rule.RemoteAddresses ?? none))
            {
                if (!IsAddress(text) && World.Conf("hyperv-keywords", "") == "")
                {
                    World.Log("hyper-v refuses the address " + text);
                    throw new ArgumentException(
                        $"The address is invalid: {text}. It may be Any, an address, a range or a subnet.");
                }
            }
            Change(rules =>
            {
                if (rules.Any(other => other.Name == rule.Name))
                {
                    throw new InvalidOperationException(
                        "Cannot create a file when that file already exists.");
                }
                rules.Add(rule);
            });
        }

        public static void Remove(string name)
        {
            Change(rules =>
            {
                if (rules.RemoveAll(rule => rule.Name == name) == 0)
                {
                    throw new InvalidOperationException(NotFound(name));
                }
            });
        }

        // The forms that are documented: Any, an address, a subnet by bits or by mask, a range. The keywords
        // of the other firewall (LocalSubnet, DNS, ...) are not among them.
        private static bool IsAddress(string text)
        {
            if (text.Equals("Any", StringComparison.OrdinalIgnoreCase))
            {
                return true;
            }
            var range = text.Split('-');
            if (range.Length == 2)
            {
                return range.All(end => IPAddress.TryParse(end, out _));
            }
            var subnet = text.Split('/');
            return subnet.Length <= 2
                && IPAddress.TryParse(subnet[0], out _)
                && (subnet.Length == 1
                    || byte.TryParse(subnet[1], out _)
                    || IPAddress.TryParse(subnet[1], out _));
        }

        private static void Change(Action<List<HyperVRule>> change)
        {
            if (!Token.IsElevated)
            {
                throw Com.Denied();
            }
            Store.Change(StoreName, change);
        }
    }
}
