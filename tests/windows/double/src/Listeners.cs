// Who listens: programs of this machine, and by TCP the port proxy's service for its rules.

using System;
using System.Linq;
using System.Net;
using System.Net.NetworkInformation;

namespace WindowsDouble
{
    public class WinIPGlobalProperties
    {
        private const string Rules = @"HKLM\SYSTEM\CurrentControlSet\Services\PortProxy\v4tov4\tcp";

        public static WinIPGlobalProperties GetIPGlobalProperties()
        {
            World.Log("listeners");
            return new WinIPGlobalProperties();
        }

        public IPEndPoint[] GetActiveTcpListeners()
        {
            return IPGlobalProperties.GetIPGlobalProperties().GetActiveTcpListeners()
                .Concat(PortProxy())
                .ToArray();
        }

        public IPEndPoint[] GetActiveUdpListeners() => IPGlobalProperties.GetIPGlobalProperties().GetActiveUdpListeners();

        /// <summary>
        /// What the service IP Helper listens on while it runs: its rules, unless it is deaf to them, and
        /// what it has from rules that were removed behind its back (the switch "proxy-stale").
        /// </summary>
        public static IPEndPoint[] PortProxy()
        {
            if (World.Conf("service-iphlpsvc", "Running") != "Running")
            {
                return new IPEndPoint[0];
            }
            var names = World.Conf("proxy-stale", "").Split('\n', StringSplitOptions.RemoveEmptyEntries);
            if (World.Conf("proxy-deaf", "") == "")
            {
                var rules = Store.Load<RegistryNode>(WinRegistryKey.StoreName).Find(Rules);
                names = names.Concat(rules?.Values.Keys.ToArray() ?? new string[0]).ToArray();
            }
            return names.Select(Parse).Where(point => point != null).Distinct().ToArray();
        }

        private static IPEndPoint Parse(string name)
        {
            var parts = name.Split('/');
            return parts.Length == 2
                && IPAddress.TryParse(parts[0].Replace("*", "0.0.0.0"), out var address)
                && ushort.TryParse(parts[1], out var port)
                    ? new IPEndPoint(address, port)
                    : null;
        }
    }
}
