// One of our programs on the tc hook of one interface, for as long as the object lives or longer.
#pragma once

#include <cstdint>
#include <string>

#include "common/base/result.hpp"
#include "common/dataplane/descriptor.hpp"
#include "tep/bpf/tc_filters.hpp"

namespace dstm::tep::bpf {

class TcHook {
public:
    // Takes the place of a program that an earlier process of ours left there. Other filters on
    // the same hook stay. not_found: no such interface. conflict: another's filter is in the place.
    // unavailable: this kernel has no clsact, or no filters of BPF.
    // `made_qdisc`: clsact is there because of us, and goes when it has no filters any more.
    [[nodiscard]] static Result<TcHook> attach(int interface, TcDirection direction, int program,
                                               bool made_qdisc = false);
    // What an earlier process attached, to be taken back by the destructor.
    [[nodiscard]] static TcHook adopt(int interface, TcDirection direction, bool made_qdisc) {
        return {interface, direction, made_qdisc};
    }
    // One of ours stands there. Reading this needs fewer rights than the program.
    [[nodiscard]] static bool stands_on(int interface, TcDirection direction);
    // The program in our place there; closed when there is none of ours.
    [[nodiscard]] static dataplane::Descriptor program_on(int interface, TcDirection direction);
    TcHook(TcHook&& other) noexcept;
    TcHook& operator=(TcHook&& other) noexcept;
    ~TcHook();

    [[nodiscard]] int interface() const { return interface_; }
    [[nodiscard]] bool made_qdisc() const { return made_qdisc_; }
    // It stays when the object goes.
    void leave() { interface_ = 0; }

private:
    TcHook(int interface, TcDirection direction, bool made_qdisc)
        : interface_(interface), direction_(direction), made_qdisc_(made_qdisc) {}

    int interface_ = 0;  // 0: nothing to take back
    TcDirection direction_ = TcDirection::ingress;
    bool made_qdisc_ = false;
};

}  // namespace dstm::tep::bpf
