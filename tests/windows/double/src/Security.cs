// Descriptors as .NET has them.

using System;
using System.Security.AccessControl;

namespace WindowsDouble
{
    public class WinObjectSecurity
    {
        public string Sddl { get; set; } = "";

        public void SetSecurityDescriptorSddlForm(string text, AccessControlSections sections)
        {
            WindowsDouble.Sddl.Check(text);
            Sddl = text;
        }

        public string GetSecurityDescriptorSddlForm(AccessControlSections sections) => Sddl;

        public WinSid GetOwner(Type type) => new WinSid(WindowsDouble.Sddl.Owner(Sddl));
    }

    public class WinFileSecurity : WinObjectSecurity
    {
    }

    public class WinRegistrySecurity : WinObjectSecurity
    {
    }

    public class WinDirectorySecurity : WinObjectSecurity
    {
    }
}
