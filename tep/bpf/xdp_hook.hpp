// Our XDP program on one interface, in its driver, for as long as the object lives or longer.
#pragma once

#include <cstdint>

#include "common/base/result.hpp"

namespace dstm::tep::bpf {

class XdpHook {
public:
    // Takes the place of a program of ours, known by its number in the kernel or by its name, which
    // needs more rights to read. refused: the driver has no XDP. conflict: another's program is
    // there.
    [[nodiscard]] static Result<XdpHook> attach(int interface, int program, std::uint32_t earlier);
    XdpHook(XdpHook&& other) noexcept;
    XdpHook& operator=(XdpHook&& other) noexcept;
    ~XdpHook();

    // Takes a program back that an earlier process attached; no other.
    static void detach_ours(int interface, std::uint32_t program);
    // The number in the kernel of what stands on an interface, ours or not; 0 = nothing.
    [[nodiscard]] static std::uint32_t number_on(int interface);
    // The number in the kernel of a loaded program.
    [[nodiscard]] static std::uint32_t number_of(int program);
    // The number in the kernel of what stands there.
    [[nodiscard]] std::uint32_t program_number() const;
    // It stays when the object goes.
    void leave() { interface_ = 0; }

private:
    explicit XdpHook(int interface) : interface_(interface) {}

    int interface_ = 0;  // 0: nothing to take back
};

}  // namespace dstm::tep::bpf
