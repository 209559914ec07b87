// A method without its end.
namespace Sample
{
    public static class Sample
    {
        public static int One()
        {
            return 1;
    }
}
