// The token and accounts, as .NET shows them.

using System;
using System.Security.Claims;
using System.Security.Principal;

namespace WindowsDouble
{
    public class WinSid
    {
        public const string Administrators = "S-1-5-32-544";

        public WinSid(string value)
        {
            if (!value.StartsWith("S-1-"))
            {
                throw new ArgumentException("Value was invalid.", "sddlForm");
            }
            Value = value;
        }

        public string Value { get; }

        public object Translate(Type type)
        {
            var name = World.Conf("name-" + Value, "");
            if (name == "")
            {
                throw new IdentityNotMappedException(
                    "Some or all identity references could not be translated.");
            }
            return new WinAccount(name);
        }

        public override string ToString() => Value;
    }

    public class WinAccount
    {
        public WinAccount(string value)
        {
            Value = value;
        }

        public string Value { get; }

        public override string ToString() => Value;
    }

    public class WinClaim
    {
        public WinClaim(string type, string value)
        {
            Type = type;
            Value = value;
        }

        public string Type { get; }

        public string Value { get; }
    }

    public class WinIdentity
    {
        public WinSid User => new WinSid(Token.Sid);

        /// <summary>An administrator who is not elevated has that group as one for refusals only.</summary>
        public WinClaim[] Claims
        {
            get
            {
                var users = new WinClaim(ClaimTypes.GroupSid, "S-1-5-32-545");
                if (Token.IsAdministrator && !Token.IsElevated)
                {
                    return new[] { new WinClaim(ClaimTypes.DenyOnlySid, WinSid.Administrators), users };
                }
                return new[] { users };
            }
        }

        public static WinIdentity GetCurrent()
        {
            World.Log("identity");
            return new WinIdentity();
        }
    }

    public class WinPrincipal
    {
        public WinPrincipal(WinIdentity identity)
        {
        }

        /// <summary>The one role that is asked for is that of administrators.</summary>
        public bool IsInRole(WindowsBuiltInRole role) => Token.IsElevated;
    }
}
