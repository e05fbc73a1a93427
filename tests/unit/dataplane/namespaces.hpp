// Network namespaces that a test creates and deletes itself, with names of its process.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_addr.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/dataplane/descriptor.hpp"

namespace dstm::dataplane::testing {

inline bool run(const std::string& command) {
    return std::system((command + " >/dev/null 2>&1").c_str()) == 0;
}

// What a command prints, both streams.
inline std::string output_of(const std::string& command) {
    std::string text;
    FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
    if (pipe == nullptr) return text;
    for (int byte = std::fgetc(pipe); byte != EOF; byte = std::fgetc(pipe)) {
        text += static_cast<char>(byte);
    }
    ::pclose(pipe);
    return text;
}

class Namespace {
public:
    explicit Namespace(const std::string& role)
        : name_("dstm" + std::to_string(::getpid()) + role) {
        if (!run("ip netns add " + name_)) throw std::runtime_error("ip netns add " + name_);
        ip("link set lo up");
        // A link-local address that is tried for duplicates cannot be used for a second.
        sysctl("net/ipv6/conf/default/accept_dad", "0");
        sysctl("net/ipv6/conf/all/accept_dad", "0");
    }
    ~Namespace() { run("ip netns del " + name_); }
    Namespace(const Namespace&) = delete;
    Namespace& operator=(const Namespace&) = delete;

    [[nodiscard]] const std::string& name() const { return name_; }
    void ip(const std::string& arguments) const {
        ASSERT_TRUE(run("ip -n " + name_ + " " + arguments)) << name_ << ": ip " << arguments;
    }
    [[nodiscard]] std::string show(const std::string& arguments) const {
        return output_of("ip -n " + name_ + " " + arguments);
    }
    [[nodiscard]] std::string exec(const std::string& command) const {
        return output_of("ip netns exec " + name_ + " " + command);
    }
    // Several of them, in one process: each of many starts is dear in a guest.
    void ip_batch(const std::vector<std::string>& lines) const {
        FILE* pipe = ::popen(("ip -n " + name_ + " -batch - >/dev/null 2>&1").c_str(), "w");
        ASSERT_NE(pipe, nullptr);
        std::string all;
        for (const auto& line : lines) all += line + "\n";
        std::fputs(all.c_str(), pipe);
        ASSERT_EQ(::pclose(pipe), 0) << name_ << ": ip\n" << all;
    }
    void sysctl(const std::string& path, const std::string& value) const {
        // What stands there belongs to the namespace of the thread that opens it.
        const Inside inside(name_);
        std::ofstream file("/proc/sys/" + path);
        ASSERT_TRUE(file << value << std::flush) << path;
    }

    // Runs `action` on this thread inside the namespace. Threads and sockets that it makes stay
    // there.
    template <class Action>
    auto in(Action action) const {
        const Inside inside(name_);
        return action();
    }

    // The interface has been noticed to be up at both ends, and no IPv6 address is still tried for
    // duplicates: from now on nothing is dropped.
    [[nodiscard]] bool is_ready(const std::string& interface) const {
        return in([&] {
            const Descriptor socket(::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
            ifreq request{};
            interface.copy(request.ifr_name, IFNAMSIZ - 1);
            // To be asked makes newer kernels look at once, others do within a second.
            ethtool_value carrier{ETHTOOL_GLINK, 0};
            request.ifr_data = reinterpret_cast<char*>(&carrier);
            if (::ioctl(socket.number(), SIOCETHTOOL, &request) != 0) return false;
            if (::ioctl(socket.number(), SIOCGIFFLAGS, &request) != 0) return false;
            if ((request.ifr_flags & IFF_RUNNING) == 0) return false;
            std::ifstream addresses("/proc/thread-self/net/if_inet6");
            std::string address, number, length, scope, flags, name;
            while (addresses >> address >> number >> length >> scope >> flags >> name) {
                if ((std::stoul(flags, nullptr, 16) & IFA_F_TENTATIVE) != 0) return false;
            }
            return true;
        });
    }

private:
    struct Inside {
        explicit Inside(const std::string& name)
            : home(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)) {
            const Descriptor there(::open(("/run/netns/" + name).c_str(), O_RDONLY | O_CLOEXEC));
            if (::setns(there.number(), CLONE_NEWNET) != 0) std::abort();
        }
        ~Inside() {
            if (::setns(home.number(), CLONE_NEWNET) != 0) std::abort();
        }
        Descriptor home;
    };

    std::string name_;
};

// Why such a test cannot run here; empty when it can.
inline std::string why_no_namespaces() {
    if (::geteuid() != 0) return "needs root to make network namespaces";
    if (::access("/dev/net/tun", R_OK | W_OK) != 0) return "needs /dev/net/tun";
    if (!run("ip -V")) return "needs the ip command (iproute2)";
    if (!run("ping -V")) return "needs the ping command (iputils-ping)";
    const auto probe = "dstm" + std::to_string(::getpid()) + "probe";
    if (!run("ip netns add " + probe)) return "cannot make a network namespace";
    run("ip netns del " + probe);
    return {};
}

}  // namespace dstm::dataplane::testing
