/*
 * ProcessPrng for a wine that has no bcryptprimitives.dll (before 9.0).
 *
 * Rust's standard library imports it for the keys of its hash maps, so without
 * it no Rust program starts there: it ends with 53 and says nothing. Windows 10
 * and newer have the real one. tools/windows.sh puts this one into its private
 * wine prefix and nowhere else; it is never shipped.
 */

/* RtlGenRandom under the name that it is exported by. */
unsigned char __stdcall SystemFunction036(void *buffer, unsigned long length);

__declspec(dllexport) int __stdcall ProcessPrng(unsigned char *data, unsigned long long length)
{
    const unsigned long long most = 1ull << 30; /* the other one counts in 32 bits */

    while (length > 0) {
        unsigned long part = (unsigned long)(length < most ? length : most);
        if (!SystemFunction036(data, part))
            return 0;
        data += part;
        length -= part;
    }
    return 1;
}
