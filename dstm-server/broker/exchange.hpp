// One create or delete of one client, from the request to the point where everything it holds is
// either accepted or given back. There is at most one for each client at any time; it may outlive
// the session that asked.
#pragma once

#include "dstm-server/ports.hpp"

namespace dstm::server {

class Exchange {
public:
    virtual ~Exchange() = default;

    // Where the client's lease is.
    [[nodiscard]] virtual Family family() const = 0;
    // Somebody still waits for the answer.
    [[nodiscard]] virtual bool is_awaited() const = 0;
    // Nobody will accept: the answer is not wanted any more, and what is held goes back, now or as
    // soon as the step under way is done.
    virtual void withdraw() = 0;
    // The client accepts what was offered. Nothing happens when nothing is.
    virtual void accept() {}
    // Kea holds the lease no more. The client's active binding was judged by the ledger already.
    virtual void on_lease_ended(const Lease& lease) = 0;

    // A tunnel that its endpoint should hold though no binding says so yet, else nullptr.
    [[nodiscard]] virtual const Lease* offered() const { return nullptr; }
    // The active binding is being taken down: no endpoint should hold it.
    [[nodiscard]] virtual bool takes_down() const { return false; }
};

}  // namespace dstm::server
