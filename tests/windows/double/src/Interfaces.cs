// Network interfaces, by the switch "interfaces".

using System;
using System.Linq;
using System.Net;

namespace WindowsDouble
{
    public class WinAddress
    {
        public IPAddress Address { get; set; }

        public string DuplicateAddressDetectionState => "Preferred";

        public int PrefixLength => Address.GetAddressBytes().Length == 4 ? 24 : 64;
    }

    public class WinIPv4Properties
    {
        public int Index { get; set; }

        public int Mtu { get; set; }
    }

    public class WinIPProperties
    {
        private readonly WinIPv4Properties ipv4;

        public WinIPProperties(WinIPv4Properties ipv4)
        {
            this.ipv4 = ipv4;
        }

        public WinAddress[] GatewayAddresses { get; set; }

        public WinAddress[] UnicastAddresses { get; set; }

        public WinIPv4Properties GetIPv4Properties() => ipv4;
    }

    public class WinNetworkInterface
    {
        // The loopback of Windows has the MTU -1.
        private const string Usual =
            "1|Loopback Pseudo-Interface 1|Up|Loopback|-1||127.0.0.1\n" +
            "7|Ethernet|Up|Ethernet|1500|192.168.50.1|192.168.50.10\n" +
            "41|vEthernet (WSL (Hyper-V firewall))|Up|Ethernet|1500||172.28.16.1";

        private readonly WinIPProperties properties;

        private WinNetworkInterface(string[] fields)
        {
            Name = fields[1];
            OperationalStatus = fields[2];
            NetworkInterfaceType = fields[3];
            var ipv4 = new WinIPv4Properties { Index = int.Parse(fields[0]), Mtu = int.Parse(fields[4]) };
            properties = new WinIPProperties(ipv4)
            {
                GatewayAddresses = Addresses(fields[5]),
                UnicastAddresses = Addresses(fields[6]),
            };
        }

        public string Name { get; }

        public string OperationalStatus { get; }

        public string NetworkInterfaceType { get; }

        public static WinNetworkInterface[] GetAllNetworkInterfaces()
        {
            World.Log("network interfaces");
            return World.Conf("interfaces", Usual)
                .Split('\n')
                .Select(line => new WinNetworkInterface(line.Split('|')))
                .ToArray();
        }

        public WinIPProperties GetIPProperties() => properties;

        private static WinAddress[] Addresses(string text)
        {
            return text.Split(',', StringSplitOptions.RemoveEmptyEntries)
                .Select(part => new WinAddress { Address = IPAddress.Parse(part) })
                .ToArray();
        }
    }
}
