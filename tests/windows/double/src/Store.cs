// What all processes of a world share: one JSON file for each subject, changed under a lock.

using System;
using System.IO;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Threading;

namespace WindowsDouble
{
    public static class Store
    {
        private static readonly JsonSerializerOptions Layout = new JsonSerializerOptions
        {
            WriteIndented = true,
            Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        };

        public static T Load<T>(string name) where T : new()
        {
            var path = World.Root + "/" + name + ".json";
            return File.Exists(path) ? JsonSerializer.Deserialize<T>(File.ReadAllText(path)) : new T();
        }

        /// <summary>Changes a store under its lock. Nothing is written where the change throws.</summary>
        public static void Change<T>(string name, Action<T> change) where T : new()
        {
            using (Lock(name))
            {
                var value = Load<T>(name);
                change(value);
                var path = World.Root + "/" + name + ".json";
                var temporary = path + "." + Linux.ProcessId;
                File.WriteAllText(temporary, JsonSerializer.Serialize(value, Layout));
                File.Move(temporary, path, true);
            }
        }

        // .NET makes FileShare.None a flock(2), which netsh takes as well.
        private static FileStream Lock(string name)
        {
            var path = World.Root + "/" + name + ".lock";
            for (var turn = 1; ; turn += 1)
            {
                try
                {
                    return new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
                }
                catch (IOException) when (turn < 2000)
                {
                    Thread.Sleep(5);
                }
            }
        }
    }
}
