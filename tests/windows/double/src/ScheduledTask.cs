// A task and its runs.

using System;
using System.Diagnostics;
using System.IO;
using System.Linq;

namespace WindowsDouble
{
    public class TaskAction
    {
        public string Path { get; set; }

        public string Arguments { get; set; }

        // TASK_ACTION_EXEC.
        public int Type => 0;
    }

    public class TaskSettings
    {
        public string ExecutionTimeLimit { get; set; }
    }

    public class TaskDefinition
    {
        public ComList Actions { get; set; }

        public TaskSettings Settings { get; set; }
    }

    public class ScheduledTask
    {
        // TASK_STATE_DISABLED, TASK_STATE_READY and TASK_STATE_RUNNING.
        private const int DisabledState = 1;
        private const int ReadyState = 3;
        private const int RunningState = 4;

        // SECURITY_INFORMATION: the list of rights alone, without the owner.
        private const int ListOnly = 4;

        private readonly string folder;

        public ScheduledTask(string folder, string name)
        {
            this.folder = folder;
            Name = name;
        }

        public string Name { get; }

        public bool Enabled
        {
            get => Record.Enabled;
            set
            {
                if ((Sddl.Given(Record.Sddl, null) & Right.AddFile) == 0)
                {
                    throw Com.Denied();
                }
                TaskTable.Change(table => table.Find(folder, Name).Enabled = value);
            }
        }

        public TaskDefinition Definition
        {
            get
            {
                var action = new TaskAction { Path = Action("Command"), Arguments = Action("Arguments") };
                return new TaskDefinition
                {
                    Actions = new ComList(new object[] { action }),
                    Settings = new TaskSettings { ExecutionTimeLimit = TaskXml.Setting(Record.Xml, "ExecutionTimeLimit") },
                };
            }
        }

        public int State
        {
            get
            {
                var task = Record;
                if (!task.Enabled)
                {
                    return DisabledState;
                }
                return IsAlive(task.Process) ? RunningState : ReadyState;
            }
        }

        /// <summary>The exit code of the last run, or what the scheduler says instead.</summary>
        public int LastTaskResult
        {
            get
            {
                if (IsAlive(Record.Process))
                {
                    return TaskCode.Running;
                }
                return File.Exists(ResultPath) && int.TryParse(File.ReadAllText(ResultPath), out var code)
                    ? code
                    : TaskCode.NotRunYet;
            }
        }

        public DateTime LastRunTime => Record.LastRun;

        public string Path => folder + "\\" + Name;

        public string Xml => Record.Xml;

        private TaskRecord Record => TaskTable.Load().Find(folder, Name) ?? throw Com.NotFound();

        private string ResultPath => World.Root + "/task-results/" + Name;

        public string GetSecurityDescriptor(int information)
        {
            var sddl = Record.Sddl;
            return information == ListOnly ? sddl.Substring(sddl.IndexOf("D:")) : sddl;
        }

        /// <summary>
        /// Starts the task and does not wait. The system runs elevated in the session of services, a user
        /// without elevation in theirs. Runs of one task queue, unless its XML says IgnoreNew.
        /// </summary>
        public object Run(object parameters)
        {
            World.Log("task run " + Name);
            var task = Record;
            if (!task.Enabled)
            {
                throw Com.Error(TaskCode.Disabled, "The task is disabled.");
            }
            if ((Sddl.Given(task.Sddl, null) & Right.Execute) == 0)
            {
                throw Com.Denied();
            }
            var ignored = TaskXml.Setting(task.Xml, "MultipleInstancesPolicy") == "IgnoreNew"
                && IsAlive(task.Process);
            if (!ignored)
            {
                var process = World.Conf("task-hold", "") == "" ? Start(task) : 0;
                TaskTable.Change(table =>
                {
                    var changed = table.Find(folder, Name);
                    changed.Process = process;
                    changed.LastRun = new DateTime(DateTime.Now.Ticks / TimeSpan.TicksPerSecond * TimeSpan.TicksPerSecond);
                });
            }
            return null;
        }

        /// <summary>Only administrators start a task as another account than its own.</summary>
        public object RunEx(object parameters, int flags, int session, object user)
        {
            var name = user as string;
            if (!string.IsNullOrEmpty(name) && name != Record.User && !Token.IsElevated)
            {
                throw Com.Denied();
            }
            return Run(parameters);
        }

        public void Stop(int flags)
        {
            var process = Record.Process;
            if (IsAlive(process))
            {
                try
                {
                    Process.GetProcessById(process).Kill(true);
                }
                catch (Exception error) when (error is ArgumentException || error is InvalidOperationException)
                {
                    // It has ended by itself.
                }
            }
        }

        // A process that ended and that was not waited for yet has the state Z.
        private static bool IsAlive(int process)
        {
            if (process == 0)
            {
                return false;
            }
            try
            {
                return !File.ReadAllText($"/proc/{process}/stat").Contains(") Z ");
            }
            catch (IOException)
            {
                return false;
            }
        }

        private string Action(string name) => TaskXml.Action(Record.Xml, name);

        // Nothing of the caller's environment reaches a task, but for what Linux needs to start programs.
        private int Start(TaskRecord task)
        {
            Directory.CreateDirectory(World.Root + "/task-results");
            var isSystem = task.User == Token.LocalSystem;
            var start = new ProcessStartInfo("setsid") { UseShellExecute = false };
            var path = start.Environment["PATH"];
            start.Environment.Clear();
            start.Environment["PATH"] = path;
            start.Environment["WINDOWS_DOUBLE_ROOT"] = World.Root;
            start.Environment["WINDOWS_DOUBLE_TOKEN"] = isSystem
                ? Token.Text(Token.LocalSystem, true, 0)
                : Token.Text(task.User, false, 1);
            foreach (var argument in new[] { World.Tools + "/run-task", World.Root, Name })
            {
                start.ArgumentList.Add(argument);
            }
            start.ArgumentList.Add(World.Map(Action("Command")));
            foreach (var argument in Arguments.Split(Action("Arguments")))
            {
                start.ArgumentList.Add(argument);
            }
            return Process.Start(start).Id;
        }
    }
}
