// How the program ends, for scripts. Documented in --help.
#pragma once

namespace dstm::client {

enum class ExitCode : int {
    success = 0,
    failed = 1,       // this host or the network could not; the message says what
    usage = 2,        // command line or configuration
    not_running = 3,  // there is no client to talk to
    refused = 4,      // by the server, and it will refuse the same again
    timed_out = 5,    // --timeout passed before the tunnel was up
};

}  // namespace dstm::client
