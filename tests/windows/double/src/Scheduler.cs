// The task scheduler (Schedule.Service): its folders and the tasks in them.

using System;
using System.Collections.Generic;
using System.Linq;

namespace WindowsDouble
{
    /// <summary>Numbers of the scheduler (winerror.h): results of a task, and refusals.</summary>
    public static class TaskCode
    {
        public const int Running = 0x41301;
        public const int NotRunYet = 0x41303;
        public const uint ServiceNotRunning = 0x80041315;
        public const uint UnexpectedNode = 0x80041316;
        public const uint Namespace = 0x80041317;
        public const uint MissingNode = 0x80041319;
        public const uint MalformedXml = 0x8004131A;
        public const uint Disabled = 0x80041326;
    }

    public class TaskRecord
    {
        public string Folder { get; set; }

        public string Name { get; set; }

        public string Xml { get; set; }

        public string User { get; set; }

        public string Sddl { get; set; }

        public bool Enabled { get; set; } = true;

        /// <summary>To the second, as Windows has it; this is what a task has that never ran.</summary>
        public DateTime LastRun { get; set; } = new DateTime(1899, 12, 30);

        public int Process { get; set; }
    }

    public class TaskTable
    {
        private const string StoreName = "tasks";

        public Dictionary<string, string> Folders { get; set; } = new Dictionary<string, string>
        {
            ["\\"] = "O:BAG:SYD:(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)(A;OICI;GRGX;;;BU)",
        };

        public List<TaskRecord> Tasks { get; set; } = new List<TaskRecord>();

        public static TaskTable Load() => Store.Load<TaskTable>(StoreName);

        public static void Change(Action<TaskTable> change) => Store.Change(StoreName, change);

        public TaskRecord Find(string folder, string name)
        {
            return Tasks.FirstOrDefault(task =>
                task.Folder == folder && task.Name.Equals(name, StringComparison.OrdinalIgnoreCase));
        }
    }

    public class TaskService
    {
        private bool connected;

        public void Connect()
        {
            if (World.Conf("schedule", "Running") != "Running")
            {
                throw Com.Error(TaskCode.ServiceNotRunning, "The Task Scheduler service is not running.");
            }
            connected = true;
        }

        public TaskFolder GetFolder(string path)
        {
            if (!connected)
            {
                throw Com.Error(
                    Com.OnlyIfConnected,
                    "This operation is supported only when you are connected to the server.");
            }
            var folders = TaskTable.Load().Folders;
            var name = folders.Keys.FirstOrDefault(
                key => key.Equals(path, StringComparison.OrdinalIgnoreCase)) ?? throw Com.NotFound();
            if ((Sddl.Given(folders[name], null) & Right.ReadData) == 0)
            {
                throw Com.Denied();
            }
            return new TaskFolder(name);
        }
    }

    public class TaskFolder
    {
        // Flags of RegisterTask: create a new one (2), update one that is there (4).
        private const int CreateOrUpdate = 6;
        private const int CreateOnly = 2;

        public TaskFolder(string path)
        {
            Path = path;
        }

        public string Path { get; }

        public ScheduledTask GetTask(string name)
        {
            var task = TaskTable.Load().Find(Path, name) ?? throw Com.NotFound();
            if (!IsReadable(task))
            {
                throw Com.Denied();
            }
            return new ScheduledTask(task.Folder, task.Name);
        }

        public ComList GetTasks(int flags)
        {
            return new ComList(TaskTable.Load().Tasks
                .Where(task => task.Folder == Path && IsReadable(task))
                .Select(task => new ScheduledTask(task.Folder, task.Name)));
        }

        public ComList GetFolders(int flags)
        {
            return new ComList(TaskTable.Load().Folders.Keys
                .Where(key => key != Path && key.StartsWith(Below("")))
                .Select(key => new TaskFolder(key)));
        }

        /// <summary>Any user may make a folder, and nothing but its list keeps others out.</summary>
        public TaskFolder CreateFolder(string name, string sddl)
        {
            Sddl.Check(sddl);
            TaskTable.Change(table =>
            {
                if (!table.Folders.TryAdd(Below(name), sddl))
                {
                    throw Com.Error(Com.AlreadyExists, "Cannot create a file when that file already exists.");
                }
            });
            return new TaskFolder(Below(name));
        }

        public void SetSecurityDescriptor(string sddl, int flags)
        {
            AssertElevated();
            Sddl.Check(sddl);
            TaskTable.Change(table => table.Folders[Path] = sddl);
        }

        public void DeleteTask(string name, int flags)
        {
            GetTask(name);
            TaskTable.Change(table =>
            {
                var task = table.Find(Path, name);
                if ((Sddl.Given(task.Sddl, null) & Right.Delete) == 0)
                {
                    throw Com.Denied();
                }
                table.Tasks.Remove(task);
            });
        }

        public void DeleteFolder(string name, int flags)
        {
            AssertElevated();
            TaskTable.Change(table =>
            {
                if (table.Tasks.Any(task => task.Folder == Below(name)))
                {
                    throw Com.Error(Com.DirectoryNotEmpty, "The directory is not empty.");
                }
                if (!table.Folders.Remove(Below(name)))
                {
                    throw Com.NotFound();
                }
            });
        }

        public ScheduledTask RegisterTask(
            string name, string xml, int flags, object user, object password, int logon, object sddl)
        {
            World.Log("RegisterTask " + name);
            TaskXml.Check(xml);
            var account = TaskXml.Account(xml, user as string);
            if ((Sddl.Given(TaskTable.Load().Folders[Path], null) & Right.AddFile) == 0)
            {
                throw Com.Denied();
            }
            if (account == Token.LocalSystem)
            {
                AssertElevated();
            }
            Sddl.Check((string)sddl);
            TaskTable.Change(table =>
            {
                var old = table.Find(Path, name);
                if (old != null && (flags & CreateOrUpdate) == CreateOnly)
                {
                    throw Com.Error(Com.AlreadyExists, "Cannot create a file when that file already exists.");
                }
                table.Tasks.Remove(old);
                table.Tasks.Add(new TaskRecord
                {
                    Folder = Path,
                    Name = name,
                    Xml = xml,
                    User = account,
                    Sddl = (string)sddl,
                });
            });
            return new ScheduledTask(Path, name);
        }

        private static bool IsReadable(TaskRecord task)
        {
            return (Sddl.Given(task.Sddl, null) & Right.ReadData) != 0;
        }

        private static void AssertElevated()
        {
            if (!Token.IsElevated)
            {
                throw Com.Denied();
            }
        }

        private string Below(string name) => Path.TrimEnd('\\') + "\\" + name.TrimStart('\\');
    }
}
