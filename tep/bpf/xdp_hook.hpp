// Our XDP program on one interface, in its driver, for as long as the object lives or longer.
#pragma once

#include <string>

#include "common/base/result.hpp"

namespace dstm::tep::bpf {

class XdpHook {
public:
    // Takes the place of a program of ours. refused: the driver has no XDP. conflict: another's
    // program is there.
    [[nodiscard]] static Result<XdpHook> attach(int interface, int program);
    XdpHook(XdpHook&& other) noexcept;
    XdpHook& operator=(XdpHook&& other) noexcept;
    ~XdpHook();

    // Takes a program back that an earlier process attached; no other.
    static void detach_ours(int interface);
    // It stays when the object goes.
    void leave() { interface_ = 0; }

private:
    XdpHook(int interface, int program) : interface_(interface), program_(program) {}

    int interface_ = 0;  // 0: nothing to take back
    int program_ = -1;
};

}  // namespace dstm::tep::bpf
