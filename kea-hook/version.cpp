// What Kea asks before it loads the hook.
#include <hooks/hooks.h>

extern "C" {

int version() { return KEA_HOOKS_VERSION; }

// Commands and the stream socket run on Kea's main thread and stop the packet threads while they
// change leases; callouts on packet threads touch their own lease and one locked queue.
int multi_threading_compatible() { return 1; }
}
