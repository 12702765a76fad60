/* A consumer of the installed library: linked by pkg-config and by CMake, shared and static. */
#include <libraft.h>
#include <stdio.h>

int main(void)
{
    printf("libraft %s\n", libraft_version());
    return libraft_abi_version() == 0;
}
