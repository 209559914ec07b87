// Command lines.

using System.Collections.Generic;
using System.Text;

namespace WindowsDouble
{
    public static class Arguments
    {
        /// <summary>A command line as words. Quotes keep blanks; a backslash means nothing.</summary>
        public static List<string> Split(string line)
        {
            var words = new List<string>();
            var word = new StringBuilder();
            var quoted = false;
            var started = false;
            foreach (var character in line ?? "")
            {
                if (character == '"')
                {
                    quoted = !quoted;
                    started = true;
                }
                else if (character == ' ' && !quoted)
                {
                    if (started)
                    {
                        words.Add(word.ToString());
                    }
                    word.Clear();
                    started = false;
                }
                else
                {
                    word.Append(character);
                    started = true;
                }
            }
            if (started)
            {
                words.Add(word.ToString());
            }
            return words;
        }
    }
}
