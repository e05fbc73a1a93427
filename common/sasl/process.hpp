// What a process gives Cyrus SASL before anything else, whether it is a server or a client. Knows
// no conversation.
#pragma once

namespace dstm::sasl {

// The library's table holds every callback as one type; the number beside it says which it is.
using Callback = int (*)();

template <class Function>
Callback as_callback(Function* function) {
    // By way of void (*)() the compiler takes the mismatch as meant.
    return reinterpret_cast<Callback>(reinterpret_cast<void (*)()>(function));
}

// Before sasl_server_init() or sasl_client_init(): conversations stand beside each other in several
// threads, and DIGEST-MD5 shares a table of nonces among them.
void give_locks();

}  // namespace dstm::sasl
