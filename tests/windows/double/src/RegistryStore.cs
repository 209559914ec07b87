// The registry as it is stored: keys and values by name, without cases.

using System;
using System.Collections.Generic;
using System.Linq;

namespace WindowsDouble
{
    public class RegistryValue
    {
        public string Kind { get; set; }

        public string Text { get; set; }
    }

    public class RegistryNode
    {
        public Dictionary<string, RegistryNode> Keys { get; set; } = new Dictionary<string, RegistryNode>();

        public Dictionary<string, RegistryValue> Values { get; set; } = new Dictionary<string, RegistryValue>();

        /// <summary>Rights of its own; null where those of a key above hold.</summary>
        public string Security { get; set; }

        /// <summary>The name as it is written among others, or null.</summary>
        public static string Spelling<T>(Dictionary<string, T> entries, string name)
        {
            return entries.Keys.FirstOrDefault(key => key.Equals(name, StringComparison.OrdinalIgnoreCase));
        }

        public static byte[] FromHex(string text)
        {
            return Enumerable.Range(0, text.Length / 2)
                .Select(index => Convert.ToByte(text.Substring(2 * index, 2), 16))
                .ToArray();
        }

        public RegistryNode Find(string path) => Walk(path, false);

        public RegistryNode Make(string path) => Walk(path, true);

        private RegistryNode Walk(string path, bool make)
        {
            var node = this;
            foreach (var part in path.Split('\\', StringSplitOptions.RemoveEmptyEntries))
            {
                var name = Spelling(node.Keys, part);
                if (name == null)
                {
                    if (!make)
                    {
                        return null;
                    }
                    name = part;
                    node.Keys[name] = new RegistryNode();
                }
                node = node.Keys[name];
            }
            return node;
        }
    }
}
