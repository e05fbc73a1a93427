// What is done after changes of the host's network, and when: bursts of them cost one round.
//
// Knows the ways to clients and the interfaces with programs; of tunnels only that all can be
// looked at.
#pragma once

#include <functional>
#include <mutex>
#include <string>

#include "common/base/clock.hpp"
#include "common/base/result.hpp"
#include "tep/bpf/entrances.hpp"
#include "tep/bpf/host_network.hpp"
#include "tep/bpf/next_hops.hpp"
#include "tep/bpf/pace.hpp"
#include "tep/bpf/programs.hpp"

namespace dstm::tep::bpf {

class HostFollower {
public:
    struct Plane {
        std::function<NextHops::Used()> used;  // places of next hops
        std::function<void()> set_ways;        // of all tunnels, by NextHops::to()
        std::function<Result<void>()> guard_exit;
    };

    // All but the functions must outlive this. `device`: the tunnel device's index.
    HostFollower(const Clock& clock, Programs& programs, HostNetwork& network, NextHops& next_hops,
                 Entrances& entrances, int device, Plane plane)
        : clock_(clock),
          programs_(programs),
          network_(network),
          next_hops_(next_hops),
          entrances_(entrances),
          device_(device),
          plane_(std::move(plane)) {}

    // Programs on all interfaces where they belong, and packets to where the kernel takes them.
    [[nodiscard]] Result<void> guard();
    // All routes anew when it is time. Who calls has no lock, since a host may have a million of
    // them; `plane` is taken for a moment. The other functions are called with it.
    void read_routes(std::mutex& plane);
    void follow();
    // Until there is something to do without news.
    [[nodiscard]] Duration wait(Duration most) const;

private:
    const Clock& clock_;
    Programs& programs_;
    HostNetwork& network_;
    NextHops& next_hops_;
    Entrances& entrances_;
    int device_;
    Plane plane_;

    News due_;
    Pace rounds_{Duration(0)};
    Pace readings_{Duration(1000)};  // what is waited for does no harm before
    std::string trouble_;            // that was said
};

}  // namespace dstm::tep::bpf
