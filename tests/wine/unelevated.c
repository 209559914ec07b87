/*
 * Starts a program as an ordinary Windows user: unelevated.exe PROGRAM [ARGUMENT...]
 *
 * Under wine every process is an elevated administrator, and an elevated relay
 * refuses to run. As on Windows, the elevated token has an ordinary one linked
 * to it: the program is started with that, gets our standard handles, and we
 * end with its exit code.
 */
#include <stdio.h>
#include <windows.h>

static int failed(const char *what)
{
    fprintf(stderr, "unelevated: %s: error %lu\n", what, GetLastError());
    return 125;
}

/* What follows our own name: handed on as it is, so that nothing is quoted anew. */
static wchar_t *rest_of_command_line(void)
{
    wchar_t *at = GetCommandLineW();
    int quoted = 0;

    while (*at && (quoted || (*at != ' ' && *at != '\t'))) {
        if (*at == '"')
            quoted = !quoted;
        at++;
    }
    while (*at == ' ' || *at == '\t')
        at++;
    return at;
}

int main(void)
{
    wchar_t *command = rest_of_command_line();
    HANDLE own;
    TOKEN_ELEVATION elevation;
    TOKEN_LINKED_TOKEN linked;
    DWORD size, code;
    STARTUPINFOW start = {.cb = sizeof start, .dwFlags = STARTF_USESTDHANDLES};
    PROCESS_INFORMATION child;

    if (!OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &own))
        return failed("OpenProcessToken");
    if (!GetTokenInformation(own, TokenLinkedToken, &linked, sizeof linked, &size))
        return failed("there is no linked token");
    /* A test that believes to be unelevated and is not would prove nothing. */
    if (!GetTokenInformation(linked.LinkedToken, TokenElevation, &elevation, sizeof elevation, &size))
        return failed("TokenElevation");
    if (elevation.TokenIsElevated) {
        fputs("unelevated: the linked token is elevated as well\n", stderr);
        return 125;
    }
    start.hStdInput = GetStdHandle(STD_INPUT_HANDLE);
    start.hStdOutput = GetStdHandle(STD_OUTPUT_HANDLE);
    start.hStdError = GetStdHandle(STD_ERROR_HANDLE);
    if (!CreateProcessAsUserW(linked.LinkedToken, NULL, command, NULL, NULL, TRUE, 0, NULL, NULL, &start, &child))
        return failed("CreateProcessAsUser");
    WaitForSingleObject(child.hProcess, INFINITE);
    if (!GetExitCodeProcess(child.hProcess, &code))
        return failed("GetExitCodeProcess");
    /* Linux sees eight bits: a crash must not look like success. */
    return code > 255 ? 255 : (int)code;
}
