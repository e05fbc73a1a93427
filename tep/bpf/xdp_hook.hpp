// Our XDP program on one interface, in its driver, for as long as the object lives.
#pragma once

#include <string>

#include "common/base/result.hpp"

namespace dstm::tep::bpf {

class XdpHook {
public:
    // refused: the driver has no XDP. conflict: another program is there.
    [[nodiscard]] static Result<XdpHook> attach(int interface, int program);
    XdpHook(XdpHook&& other) noexcept;
    XdpHook& operator=(XdpHook&& other) noexcept;
    ~XdpHook();

private:
    XdpHook(int interface, int program) : interface_(interface), program_(program) {}

    int interface_ = 0;  // 0: moved from
    int program_ = -1;
};

}  // namespace dstm::tep::bpf
