// Our XDP program on one interface, in its driver: a link of the kernel's, which ends when nobody
// holds it any more, wherever the interface has gone by then.
#pragma once

#include <cstdint>
#include <string>

#include "common/base/result.hpp"
#include "common/dataplane/descriptor.hpp"
#include "tep/bpf/layout.h"

namespace dstm::tep::bpf {

class XdpHook {
public:
    // Pinned as `pin`, where an earlier process may have left one that now gets this program;
    // empty: it ends with the process. refused: the driver has no XDP. conflict: another's program
    // is there.
    [[nodiscard]] static Result<XdpHook> attach(int interface, int program, std::string pin);
    XdpHook(XdpHook&& other) noexcept = default;
    XdpHook& operator=(XdpHook&& other) noexcept = default;
    ~XdpHook();

    // What is pinned so ends, and the pin goes; where there is none, nothing happens.
    static void end(const std::string& pin);
    // What a daemon up to layout 3 left on the interface ends; it had no link.
    static void end_earlier(int interface, const dstm_hook& record);
    // The number in the kernel of what stands on an interface, ours or not; 0 = nothing.
    [[nodiscard]] static std::uint32_t number_on(int interface);
    // A pinned one stays when the object goes.
    void leave() { link_ = dataplane::Descriptor(); }

private:
    XdpHook(dataplane::Descriptor link, std::string pin)
        : link_(std::move(link)), pin_(std::move(pin)) {}

    dataplane::Descriptor link_;  // closed: nothing to take back
    std::string pin_;
};

}  // namespace dstm::tep::bpf
