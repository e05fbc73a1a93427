// One of our programs on the tc hook of one interface, for as long as the object lives.
#pragma once

#include <cstdint>
#include <string>

#include "common/base/result.hpp"

namespace dstm::tep::bpf {

enum class TcDirection { ingress, egress };

class TcHook {
public:
    // Takes the place of a program that an earlier process of ours left there. Other filters on
    // the same hook stay. not_found: no such interface.
    [[nodiscard]] static Result<TcHook> attach(int interface, TcDirection direction, int program);
    TcHook(TcHook&& other) noexcept;
    TcHook& operator=(TcHook&& other) noexcept;
    ~TcHook();

    [[nodiscard]] int interface() const { return interface_; }

private:
    TcHook(int interface, TcDirection direction, bool made_qdisc)
        : interface_(interface), direction_(direction), made_qdisc_(made_qdisc) {}

    int interface_ = 0;  // 0: moved from
    TcDirection direction_ = TcDirection::ingress;
    bool made_qdisc_ = false;
};

}  // namespace dstm::tep::bpf
