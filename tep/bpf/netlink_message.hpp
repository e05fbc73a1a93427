// Netlink messages, written and read with bounds (netlink(7)); knows none of their meanings.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "common/base/result.hpp"
#include "common/dataplane/descriptor.hpp"

namespace dstm::tep::bpf::netlink {

// `groups`: of news, RTMGRP_*. not_found: this kernel does not have the protocol.
[[nodiscard]] inline Result<dataplane::Descriptor> open_socket(int protocol,
                                                               std::uint32_t groups = 0) {
    dataplane::Descriptor out(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
    sockaddr_nl address{};
    address.nl_family = AF_NETLINK;
    address.nl_groups = groups;
    if (!out.is_open() ||
        ::bind(out.number(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        const int said = errno;
        auto error = error_from_errno(said, "opening netlink");
        if (said == EPROTONOSUPPORT) error.code = ErrorCode::not_found;
        return tl::unexpected(std::move(error));
    }
    return out;
}

// A request that is being written: one struct, then attributes.
class Request {
public:
    template <class Body>
    Request(std::uint16_t type, std::uint16_t flags, const Body& body)
        : bytes_(NLMSG_SPACE(sizeof(Body))) {
        nlmsghdr header{};
        header.nlmsg_type = type;
        header.nlmsg_flags = static_cast<__u16>(NLM_F_REQUEST | flags);
        std::memcpy(bytes_.data(), &header, sizeof header);
        std::memcpy(bytes_.data() + NLMSG_HDRLEN, &body, sizeof body);
    }

    void add(std::uint16_t type, std::span<const std::uint8_t> value) {
        rtattr attribute{};
        attribute.rta_type = type;
        attribute.rta_len = static_cast<unsigned short>(RTA_LENGTH(value.size()));
        const auto at = bytes_.size();
        bytes_.resize(at + RTA_SPACE(value.size()));
        std::memcpy(bytes_.data() + at, &attribute, sizeof attribute);
        std::memcpy(bytes_.data() + at + RTA_LENGTH(0), value.data(), value.size());
    }

    [[nodiscard]] std::vector<std::uint8_t> take(std::uint32_t sequence = 0) {
        nlmsghdr header{};
        std::memcpy(&header, bytes_.data(), sizeof header);
        header.nlmsg_len = static_cast<__u32>(bytes_.size());
        header.nlmsg_seq = sequence;
        std::memcpy(bytes_.data(), &header, sizeof header);
        return std::move(bytes_);
    }

private:
    std::vector<std::uint8_t> bytes_;
};

// One message that was received, taken apart; reads stay within it.
class Message {
public:
    // The first message of `bytes`, none when there is no whole one.
    static std::optional<Message> first_of(std::span<const std::uint8_t> bytes) {
        nlmsghdr header{};
        if (bytes.size() < sizeof header) return std::nullopt;
        std::memcpy(&header, bytes.data(), sizeof header);
        if (header.nlmsg_len < sizeof header || header.nlmsg_len > bytes.size()) {
            return std::nullopt;
        }
        return Message(header, bytes.first(header.nlmsg_len));
    }

    [[nodiscard]] std::uint16_t type() const { return header_.nlmsg_type; }
    [[nodiscard]] std::uint32_t sequence() const { return header_.nlmsg_seq; }
    // Of a list that is not whole.
    [[nodiscard]] bool is_interrupted() const {
        return (header_.nlmsg_flags & NLM_F_DUMP_INTR) != 0;
    }
    // News of what stands in the place of something else now.
    [[nodiscard]] bool is_replacement() const {
        return (header_.nlmsg_flags & NLM_F_REPLACE) != 0;
    }
    [[nodiscard]] std::size_t space() const { return NLMSG_ALIGN(header_.nlmsg_len); }

    template <class Body>
    [[nodiscard]] Body body() const {
        Body out{};
        if (bytes_.size() >= NLMSG_HDRLEN + sizeof out) {
            std::memcpy(&out, bytes_.data() + NLMSG_HDRLEN, sizeof out);
        }
        return out;
    }

    // All behind a body of `body_size`.
    [[nodiscard]] std::span<const std::uint8_t> attributes(std::size_t body_size) const {
        return bytes_.subspan(std::min<std::size_t>(bytes_.size(), NLMSG_SPACE(body_size)));
    }
    // One of them; empty when there is none.
    [[nodiscard]] std::span<const std::uint8_t> attribute(std::size_t body_size,
                                                          std::uint16_t type) const {
        return find(bytes_, NLMSG_SPACE(body_size), type);
    }
    [[nodiscard]] static std::span<const std::uint8_t> find(std::span<const std::uint8_t> bytes,
                                                            std::size_t at, std::uint16_t type) {
        rtattr attribute{};
        while (at + sizeof attribute <= bytes.size()) {
            std::memcpy(&attribute, bytes.data() + at, sizeof attribute);
            if (attribute.rta_len < sizeof attribute || at + attribute.rta_len > bytes.size()) {
                return {};
            }
            if ((attribute.rta_type & NLA_TYPE_MASK) == type) {
                return bytes.subspan(at + RTA_LENGTH(0), attribute.rta_len - RTA_LENGTH(0));
            }
            at += RTA_ALIGN(attribute.rta_len);
        }
        return {};
    }

private:
    Message(const nlmsghdr& header, std::span<const std::uint8_t> bytes)
        : header_(header), bytes_(bytes) {}
    nlmsghdr header_;
    std::span<const std::uint8_t> bytes_;
};

// Shows `visit` each message of a list that the kernel is asked for (NLM_F_DUMP), until it returns
// false. What the kernel answers instead is the error; conflict: the list changed meanwhile.
template <class Visit>
[[nodiscard]] Result<void> for_each_answer(const dataplane::Descriptor& socket,
                                           std::span<const std::uint8_t> question,
                                           const std::string& doing, Visit visit) {
    if (::send(socket.number(), question.data(), question.size(), 0) < 0) {
        return tl::unexpected(error_from_errno(errno, doing));
    }
    std::vector<std::uint8_t> buffer(32768);
    bool has_changed = false;
    for (;;) {
        const auto size = ::recv(socket.number(), buffer.data(), buffer.size(), 0);
        if (size < 0 && errno == EINTR) continue;
        if (size < 0) return tl::unexpected(error_from_errno(errno, doing));
        auto left = std::span<const std::uint8_t>(buffer).first(static_cast<std::size_t>(size));
        while (const auto message = Message::first_of(left)) {
            const bool is_last = message->type() == NLMSG_DONE || message->type() == NLMSG_ERROR;
            has_changed = has_changed || message->is_interrupted();
            // Both begin with 0 or a negative errno.
            if (const int said = message->body<int>(); is_last && said != 0) {
                return tl::unexpected(error_from_errno(-said, doing));
            }
            if (is_last && has_changed) return fail(ErrorCode::conflict, doing + ": changed");
            if (is_last) return {};
            if (!visit(*message)) return {};
            left = left.subspan(std::min(left.size(), message->space()));
        }
    }
}

// 0 when the attribute is not of this size.
template <class Number>
[[nodiscard]] Number number_in(std::span<const std::uint8_t> value) {
    Number out = 0;
    if (value.size() == sizeof out) std::memcpy(&out, value.data(), sizeof out);
    return out;
}

// Up to its end or its first zero.
[[nodiscard]] inline std::string text_in(std::span<const std::uint8_t> value) {
    const std::string text(value.begin(), value.end());
    return text.substr(0, text.find('\0'));
}

template <class Number>
[[nodiscard]] std::span<const std::uint8_t> bytes_of(const Number& number) {
    return {reinterpret_cast<const std::uint8_t*>(&number), sizeof number};
}

}  // namespace dstm::tep::bpf::netlink
