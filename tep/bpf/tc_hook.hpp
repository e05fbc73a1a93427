// One of our programs on the tc hook of one interface, for as long as the object lives or longer.
#pragma once

#include <cstdint>
#include <string>

#include "common/base/result.hpp"
#include "common/dataplane/descriptor.hpp"
#include "tep/bpf/tc_filters.hpp"

namespace dstm::tep::bpf {

// The handle of the filters of all daemons of this device, one after another. Another daemon of the
// same host has another one, so that each knows its own without the right to read programs.
[[nodiscard]] std::uint32_t tc_handle_of(const std::string& device);

struct TcPlace {
    int interface = 0;
    TcDirection direction = TcDirection::ingress;
    std::uint32_t handle = 0;
    // An earlier daemon of this device was here: what has the handle of layout 3 is its.
    bool was_ours = false;
};

class TcHook {
public:
    // Takes the place of a program that an earlier process of ours left there. Filters of other
    // priorities on the same hook stay. not_found: no such interface. conflict: another's filter,
    // perhaps another daemon's, has our priority. unavailable: this kernel has no clsact, or no
    // filters of BPF.
    // `made_qdisc`: clsact is there because of us, and goes when it has no filters any more.
    [[nodiscard]] static Result<TcHook> attach(const TcPlace& place, int program,
                                               bool made_qdisc = false);
    // What an earlier process attached, to be taken back by the destructor.
    [[nodiscard]] static TcHook adopt(const TcPlace& place, bool made_qdisc) {
        return {place, made_qdisc};
    }
    // One of ours stands there. Reading this needs fewer rights than the program.
    [[nodiscard]] static bool stands_on(const TcPlace& place);
    // The program in our place there; closed when there is none of ours.
    [[nodiscard]] static dataplane::Descriptor program_on(const TcPlace& place);
    TcHook(TcHook&& other) noexcept;
    TcHook& operator=(TcHook&& other) noexcept;
    ~TcHook();

    // Nobody has taken it away, nor clsact with all that was on it.
    [[nodiscard]] bool stands() const;
    [[nodiscard]] bool made_qdisc() const { return made_qdisc_; }
    // It stays when the object goes.
    void leave() { place_.interface = 0; }

private:
    TcHook(const TcPlace& place, bool made_qdisc) : place_(place), made_qdisc_(made_qdisc) {}

    TcPlace place_;  // interface 0: nothing to take back
    bool made_qdisc_ = false;
};

}  // namespace dstm::tep::bpf
