// What the scheduler takes as the description of a task.

using System;
using System.Linq;
using System.Xml;
using System.Xml.Linq;

namespace WindowsDouble
{
    /// <summary>The XML of a task. The scheduler refuses what is not of its schema ([MS-TSCH] 2.5).</summary>
    public static class TaskXml
    {
        private static readonly XNamespace Space = "http://schemas.microsoft.com/windows/2004/02/mit/task";

        private static readonly string[] Parts =
        {
            "RegistrationInfo", "Triggers", "Principals", "Data", "Settings", "Actions",
        };

        private static readonly string[] Settings =
        {
            "AllowHardTerminate", "AllowStartOnDemand", "DeleteExpiredTaskAfter",
            "DisallowStartIfOnBatteries", "Enabled", "ExecutionTimeLimit", "Hidden", "IdleSettings",
            "MultipleInstancesPolicy", "Priority", "RestartOnFailure", "RunOnlyIfIdle",
            "RunOnlyIfNetworkAvailable", "StartWhenAvailable", "StopIfGoingOnBatteries", "WakeToRun",
        };

        public static void Check(string xml)
        {
            XElement root;
            try
            {
                root = XDocument.Parse(xml).Root;
            }
            catch (XmlException error)
            {
                throw Com.Error(TaskCode.MalformedXml, "The task XML is malformed. " + error.Message);
            }
            if (root.Name != Space + "Task")
            {
                throw Com.Error(
                    TaskCode.Namespace,
                    "The task XML contains an element or attribute from an unexpected namespace.");
            }
            AssertKnown(root, Parts);
            AssertKnown(root.Element(Space + "Settings"), Settings);
            if (Action(root, "Command") == null)
            {
                throw Com.Error(
                    TaskCode.MissingNode, "The task XML is missing a required element or attribute.");
            }
        }

        /// <summary>An element of the action, or null.</summary>
        public static string Action(string xml, string name) => Action(XDocument.Parse(xml).Root, name);

        public static string Setting(string xml, string name)
        {
            return XDocument.Parse(xml).Root.Element(Space + "Settings")?.Element(Space + name)?.Value;
        }

        /// <summary>The account that a task runs under: the one named at its registration, else its own.</summary>
        public static string Account(string xml, string named)
        {
            if (!string.IsNullOrEmpty(named))
            {
                return named;
            }
            var principal = XDocument.Parse(xml).Root.Element(Space + "Principals")?.Element(Space + "Principal");
            return principal?.Element(Space + "UserId")?.Value ?? Token.Sid;
        }

        private static string Action(XElement root, string name)
        {
            return root.Element(Space + "Actions")?.Element(Space + "Exec")?.Element(Space + name)?.Value;
        }

        private static void AssertKnown(XElement parent, string[] names)
        {
            foreach (var element in parent?.Elements() ?? Enumerable.Empty<XElement>())
            {
                if (!names.Contains(element.Name.LocalName))
                {
                    throw Com.Error(
                        TaskCode.UnexpectedNode,
                        "The task XML contains an unexpected node. " + element.Name.LocalName);
                }
            }
        }
    }
}
