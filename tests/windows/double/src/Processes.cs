// Processes: those of this machine, started with the token that Windows would give them.

using System;
using System.Collections.Generic;
using System.ComponentModel;
using System.Diagnostics;
using System.IO;
using System.Linq;

namespace WindowsDouble
{
    public class WinModule
    {
        public string FileName { get; set; }
    }

    public class WinProcess
    {
        // Numbers of winerror.h, in the exception that Process.Start throws.
        private const int FileNotFound = 2;
        private const int Cancelled = 1223;

        // A program whose window is closed, or that Ctrl-C ends; the program 'window' says 250 instead.
        private const int ControlCExit = unchecked((int)0xC000013A);
        private const int WindowClosed = 250;

        // svchost.exe with the service IP Helper; netstat knows the number too.
        private const int IpHelper = 1188;

        private readonly Process process;

        private readonly string file;

        private WinProcess(Process process, string file)
        {
            this.process = process;
            this.file = file;
        }

        public int Id => process?.Id ?? IpHelper;

        public string ProcessName => process?.ProcessName ?? "svchost";

        public int SessionId => Token.Session;

        public DateTime StartTime => process.StartTime;

        public bool HasExited => process.HasExited;

        public int ExitCode => process.ExitCode == WindowClosed ? ControlCExit : process.ExitCode;

        public StreamWriter StandardInput => process.StandardInput;

        public StreamReader StandardOutput => process.StandardOutput;

        public StreamReader StandardError => process.StandardError;

        public WinModule MainModule => new WinModule { FileName = World.Unmap(file) };

        public static WinProcess GetCurrentProcess() => new WinProcess(Process.GetCurrentProcess(), "");

        public static WinProcess GetProcessById(int id)
        {
            return id == IpHelper
                ? new WinProcess(null, @"C:\Windows\System32\svchost.exe")
                : new WinProcess(Process.GetProcessById(id), "");
        }

        /// <summary>Programs NAME.exe, wherever they lie.</summary>
        public static WinProcess[] GetProcessesByName(string name)
        {
            World.Log("processes " + name);
            return Process.GetProcesses()
                .Select(process => new WinProcess(process, ProgramFile(process.Id, name)))
                .Where(process => process.file != null)
                .ToArray();
        }

        public static WinProcess Start(ProcessStartInfo order)
        {
            World.Log($"start {order.Verb} {order.FileName} {order.Arguments}");
            var program = World.Map(order.FileName);
            if (!File.Exists(program))
            {
                throw new Win32Exception(FileNotFound);
            }
            var start = new ProcessStartInfo { UseShellExecute = false };
            start.Environment["WINDOWS_DOUBLE_ROOT"] = World.Root;
            start.Environment["WINDOWS_DOUBLE_STARTED"] = "1";
            if (order.UseShellExecute)
            {
                // A window of its own is a pseudo-terminal.
                start.FileName = World.Tools + "/window";
                start.ArgumentList.Add(World.Root);
                start.ArgumentList.Add(program);
                if (order.Verb == "runas")
                {
                    start.Environment["WINDOWS_DOUBLE_TOKEN"] = AskForElevation();
                }
            }
            else
            {
                start.FileName = program;
                start.RedirectStandardInput = order.RedirectStandardInput;
                start.RedirectStandardOutput = order.RedirectStandardOutput;
                start.RedirectStandardError = order.RedirectStandardError;
            }
            foreach (var argument in WindowsDouble.Arguments.Split(order.Arguments))
            {
                start.ArgumentList.Add(argument);
            }
            return new WinProcess(Process.Start(start), order.FileName);
        }

        public void WaitForExit() => process.WaitForExit();

        public bool WaitForExit(int milliseconds) => process.WaitForExit(milliseconds);

        public void Kill() => process.Kill(true);

        // The question of User Account Control, by the switch uac: yes, no, code: and a number of winerror.h,
        // or the SID of another administrator, whose account the program then runs under.
        private static string AskForElevation()
        {
            var answer = World.Conf("uac", "yes");
            if (answer == "no")
            {
                throw new Win32Exception(Cancelled);
            }
            if (answer.StartsWith("code:"))
            {
                throw new Win32Exception(int.Parse(answer.Substring(5)));
            }
            return Token.Text(answer.StartsWith("S-1-") ? answer : Token.Sid, true, 1);
        }

        // The program is the first word of a command line, or the second one behind an interpreter.
        private static string ProgramFile(int id, string name)
        {
            try
            {
                return File.ReadAllText($"/proc/{id}/cmdline").Split('\0').Take(2).FirstOrDefault(
                    word => word.EndsWith("/" + name + ".exe", StringComparison.OrdinalIgnoreCase));
            }
            catch (Exception error) when (error is IOException || error is UnauthorizedAccessException)
            {
                return null;
            }
        }
    }
}
