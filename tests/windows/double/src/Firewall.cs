// The firewall of Windows, by its COM objects.

using System;
using System.Collections;
using System.Collections.Generic;
using System.Linq;
using System.Net;
using System.Text.RegularExpressions;

namespace WindowsDouble
{
    /// <summary>A rule as it is stored.</summary>
    public class FirewallRecord
    {
        public int Protocol { get; set; } = 256;

        public string LocalPorts { get; set; }

        public string RemotePorts { get; set; }

        public string LocalAddresses { get; set; } = "*";

        public string RemoteAddresses { get; set; } = "*";

        public string Name { get; set; }

        public string Description { get; set; }

        public string Grouping { get; set; }

        public string ApplicationName { get; set; }

        public string ServiceName { get; set; }

        public int Direction { get; set; } = 1;

        public int Action { get; set; } = 1;

        public int Profiles { get; set; } = int.MaxValue;

        public bool Enabled { get; set; }
    }

    /// <summary>HNetCfg.FWRule. New: inbound, allowing, for any protocol and all profiles, disabled.</summary>
    public class FirewallRule
    {
        private static readonly Regex Ports = new Regex(@"^(\*|[0-9,-]+|RPC|RPC-EPMap|IPHTTPS)$");

        public FirewallRule()
            : this(new FirewallRecord())
        {
        }

        internal FirewallRule(FirewallRecord record)
        {
            Record = record;
        }

        public string Name
        {
            get => Record.Name;
            set => Record.Name = value;
        }

        public string Description
        {
            get => Record.Description;
            set => Record.Description = value;
        }

        public string Grouping
        {
            get => Record.Grouping;
            set => Record.Grouping = value;
        }

        public string ApplicationName
        {
            get => Record.ApplicationName;
            set => Record.ApplicationName = value;
        }

        public string ServiceName
        {
            get => Record.ServiceName;
            set => Record.ServiceName = value;
        }

        /// <summary>A protocol with ports gets all of them; any other has none.</summary>
        public int Protocol
        {
            get => Record.Protocol;
            set
            {
                Record.Protocol = value;
                Record.LocalPorts = Record.RemotePorts = HasPorts ? "*" : null;
            }
        }

        /// <summary>Fails before the protocol is set: the order of the calls counts on Windows.</summary>
        public string LocalPorts
        {
            get => Record.LocalPorts;
            set
            {
                if (!HasPorts || !Ports.IsMatch(value))
                {
                    throw Com.Invalid();
                }
                Record.LocalPorts = value;
            }
        }

        public string RemotePorts
        {
            get => Record.RemotePorts;
            set
            {
                if (!HasPorts)
                {
                    throw Com.Invalid();
                }
                Record.RemotePorts = value;
            }
        }

        /// <summary>Takes addresses only. Keywords as LocalSubnet are for the other side.</summary>
        public string LocalAddresses
        {
            get => Record.LocalAddresses;
            set
            {
                foreach (var part in value.Split(','))
                {
                    if (part != "*" && !IPAddress.TryParse(part.Split('/', '-')[0], out _))
                    {
                        throw Com.Invalid();
                    }
                }
                Record.LocalAddresses = WithMasks(value);
            }
        }

        public string RemoteAddresses
        {
            get => Record.RemoteAddresses;
            set => Record.RemoteAddresses = WithMasks(value);
        }

        public int Direction
        {
            get => Record.Direction;
            set => Record.Direction = value;
        }

        public int Action
        {
            get => Record.Action;
            set => Record.Action = value;
        }

        public int Profiles
        {
            get => Record.Profiles;
            set => Record.Profiles = value;
        }

        public bool Enabled
        {
            get => Record.Enabled;
            set => Record.Enabled = value;
        }

        internal FirewallRecord Record { get; }

        private bool HasPorts => Record.Protocol == 6 || Record.Protocol == 17;

        // Windows gives back 192.168.1.5 as 192.168.1.5/255.255.255.255: what is read is not what was
        // written.
        private static string WithMasks(string value)
        {
            return string.Join(",", value.Split(',').Select(part =>
                !part.Contains(':') && IPAddress.TryParse(part, out _) ? part + "/255.255.255.255" : part));
        }
    }

    /// <summary>The rules of HNetCfg.FwPolicy2. Names need not be unique.</summary>
    public class FirewallRules : IEnumerable
    {
        private const string StoreName = "firewall";

        public int Count => Load().Count;

        public IEnumerator GetEnumerator()
        {
            return Load().Select(record => new FirewallRule(record)).ToList().GetEnumerator();
        }

        public FirewallRule Item(string name)
        {
            var record = Load().FirstOrDefault(rule => IsNamed(rule, name)) ?? throw Com.NotFound();
            return new FirewallRule(record);
        }

        public void Add(FirewallRule rule)
        {
            World.Log("firewall add " + rule.Name);
            Change(rules => rules.Add(rule.Record));
        }

        /// <summary>Takes away one rule of this name, and is content where there is none.</summary>
        public void Remove(string name)
        {
            World.Log("firewall remove " + name);
            Change(rules => rules.Remove(rules.Find(rule => IsNamed(rule, name))));
        }

        private static List<FirewallRecord> Load() => Store.Load<List<FirewallRecord>>(StoreName);

        private static void Change(Action<List<FirewallRecord>> change)
        {
            if (!Token.IsElevated)
            {
                throw Com.Denied();
            }
            Store.Change(StoreName, change);
        }

        private static bool IsNamed(FirewallRecord rule, string name)
        {
            return string.Equals(rule.Name, name, StringComparison.OrdinalIgnoreCase);
        }
    }

    /// <summary>HNetCfg.FwPolicy2.</summary>
    public class FirewallPolicy
    {
        public FirewallRules Rules { get; } = new FirewallRules();

        public int CurrentProfileTypes => int.Parse(World.Conf("profiles", "2"));

        public int LocalPolicyModifyState => int.Parse(World.Conf("policy-state", "0"));

        public bool FirewallEnabled(int profile) => World.Conf("firewall-off", "") != profile.ToString();

        public int DefaultInboundAction(int profile) => 0;

        public bool BlockAllInboundTraffic(int profile) => World.Conf("block-all", "") == profile.ToString();
    }
}
