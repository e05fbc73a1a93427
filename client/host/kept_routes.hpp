// Routes of ours into one device: set, set again when somebody has taken them away, removed. Never
// in anybody's place: a route of another with the same destination and metric stays, and ours waits
// for it to go.
#pragma once

#include <vector>

#include "common/dataplane/netlink.hpp"

namespace dstm::client {

class KeptRoutes {
public:
    // `netlink` outlives it.
    explicit KeptRoutes(dataplane::Netlink& netlink) : netlink_(netlink) {}

    // Of one family, in the place of what was kept before. A place that is taken is no error.
    [[nodiscard]] Result<void> set(const std::vector<dataplane::Route>& routes);
    // After any change of the host. True: something was missing and is there again.
    [[nodiscard]] bool restore();
    // As many as can be; the first failure. None is kept any more.
    [[nodiscard]] Result<void> clear();
    [[nodiscard]] bool is_empty() const { return routes_.empty(); }

private:
    struct Kept {
        dataplane::Route route;
        bool is_told = false;  // why it is not there; told once until it is
    };
    void tell(Kept& kept, const Error& why);

    dataplane::Netlink& netlink_;
    std::vector<Kept> routes_;
};

}  // namespace dstm::client
