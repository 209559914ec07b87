// A text without its end.
namespace Sample
{
    public static class Sample
    {
        public static string One() => "one;
    }
}
