// The programs on the interfaces that packets come in on, from clients and, with shortcuts, from
// IPv4. Interfaces come and go; the set is made right again after each change.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>

#include "common/base/result.hpp"
#include "common/dataplane/netlink.hpp"
#include "tep/bpf/bpf_plane.hpp"
#include "tep/bpf/hook_records.hpp"
#include "tep/bpf/host_network.hpp"
#include "tep/bpf/pins.hpp"
#include "tep/bpf/programs.hpp"
#include "tep/bpf/source_filter.hpp"
#include "tep/bpf/tc_hook.hpp"
#include "tep/bpf/xdp_hook.hpp"

namespace dstm::tep::bpf {

class Entrances {
public:
    // All but `device`, the tunnel device's index, must outlive this. `pins` may be null.
    Entrances(const BpfPlaneConfig& config, Programs& programs, const Pins* pins,
              dataplane::Netlink& netlink, HostNetwork& network, int device)
        : config_(config),
          programs_(programs),
          pins_(pins),
          netlink_(netlink),
          network_(network),
          device_(device),
          records_(programs.hooks()) {}

    // Attaches where a program is missing, detaches where none belongs. `to_clients`: interfaces by
    // which packets to clients leave, and so theirs come in. What fails at one interface keeps no
    // other from it; the first error is returned.
    [[nodiscard]] Result<void> guard(const std::set<int>& to_clients);
    // All stays when this object goes.
    void leave();

private:
    struct Entrance {
        TcHook hook;
        std::optional<XdpHook> xdp;
        std::optional<SourceFilterOff> filter;
        int program = 0;

        void leave();  // it stays when the object goes
    };

    [[nodiscard]] Result<void> keep(int index);
    [[nodiscard]] Result<void> enter(int index);
    void tend_filter(int index, bool must_be_off);
    void drop_unwanted(const std::set<int>& wanted);
    [[nodiscard]] TcPlace place_on(int index) const;
    [[nodiscard]] std::string link_path(int index) const;  // empty: nothing can be pinned
    void write_port(int index);

    [[nodiscard]] Result<std::set<int>> wanted(const std::set<int>& to_clients);
    [[nodiscard]] std::set<int> of_clients(const std::set<int>& to_clients);
    // A state is a line of the log once, until it has ended.
    [[nodiscard]] bool is_news(const std::string& state);
    [[nodiscard]] Shortcut shortcut_of(const std::string& interface) const;
    [[nodiscard]] int program_of(const std::string& interface) const;
    [[nodiscard]] std::optional<XdpHook> try_xdp(int index, const std::string& interface);

    const BpfPlaneConfig& config_;
    Programs& programs_;
    const Pins* pins_;
    dataplane::Netlink& netlink_;
    HostNetwork& network_;
    int device_;
    HookRecords records_;
    std::map<int, Entrance> entrances_;  // by interface
    std::set<std::string> said_;
    std::set<std::string> saying_;  // in this round
};

// Takes back what an earlier daemon did to one interface, but for its link.
void take_back(const TcPlace& place, const dstm_hook& record);

}  // namespace dstm::tep::bpf
