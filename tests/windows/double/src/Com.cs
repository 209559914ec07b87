// COM: classes by name, and errors as HRESULT. PowerShell handles plain objects of .NET in the same way.

using System;
using System.Collections;
using System.Collections.Generic;
using System.Linq;
using System.Runtime.InteropServices;

namespace WindowsDouble
{
    public static class Com
    {
        public const uint AccessDenied = 0x80070005;
        public const uint FileNotFound = 0x80070002;
        public const uint AlreadyExists = 0x800700B7;
        public const uint DirectoryNotEmpty = 0x80070091;
        public const uint InvalidParameter = 0x80070057;
        public const uint OnlyIfConnected = 0x800704E3;
        public const uint ClassNotRegistered = 0x80040154;

        /// <summary>What New-Object -ComObject gives. Switches make it slow, or have it refused.</summary>
        public static object Make(string name)
        {
            World.Log("COM " + name);
            World.Delay("slow-" + name);
            var refusal = World.Conf("refuse-" + name, "");
            if (refusal != "")
            {
                throw Error(Convert.ToUInt32(refusal, 16), "Refused.");
            }
            switch (name)
            {
                case "Schedule.Service":
                    return new TaskService();
                case "HNetCfg.FwPolicy2":
                    return new FirewallPolicy();
                case "HNetCfg.FWRule":
                    return new FirewallRule();
                default:
                    throw Error(ClassNotRegistered, "Class not registered");
            }
        }

        public static COMException Error(uint code, string message)
        {
            World.Log($"COM error {code:x8} {message}");
            return new COMException($"{message} (Exception from HRESULT: 0x{code:X8})", unchecked((int)code));
        }

        public static COMException Denied() => Error(AccessDenied, "Access is denied.");

        public static COMException NotFound()
        {
            return Error(FileNotFound, "The system cannot find the file specified.");
        }

        public static COMException Invalid() => Error(InvalidParameter, "The parameter is incorrect.");
    }

    /// <summary>A collection of the task scheduler: its items count from 1.</summary>
    public class ComList : IEnumerable
    {
        private readonly object[] items;

        public ComList(IEnumerable<object> items)
        {
            this.items = items.ToArray();
        }

        public int Count => items.Length;

        public object Item(int index) => items[index - 1];

        public IEnumerator GetEnumerator() => items.GetEnumerator();
    }
}
