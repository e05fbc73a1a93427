// What outlives the daemon: programs and maps of one device in the BPF file system, by name.
// Knows no layout.
#pragma once

#include <map>
#include <set>
#include <string>

#include "common/base/result.hpp"
#include "common/dataplane/descriptor.hpp"

namespace dstm::tep::bpf {

// Maps by their names in the programs.
using Maps = std::map<std::string, dataplane::Descriptor, std::less<>>;

class Pins {
public:
    // Of the device of this name in the network namespace that we are in. Mounts the BPF file
    // system where it is missing. unavailable: that cannot be done.
    [[nodiscard]] static Result<Pins> open(const std::string& device);

    [[nodiscard]] const std::string& directory() const { return directory_; }

    [[nodiscard]] bool exist() const;
    // What is pinned. conflict: something that is no BPF map or program.
    [[nodiscard]] Result<Maps> maps() const;
    // Takes the place of what was pinned under this name.
    [[nodiscard]] Result<void> pin(const std::string& name, int descriptor) const;
    // What is pinned under other names, by an older version, goes.
    void keep_only(const std::set<std::string>& names) const;
    // All that is pinned, and the directory. conflict: something else is in it, and stays.
    [[nodiscard]] Result<void> remove() const;

private:
    explicit Pins(std::string directory) : directory_(std::move(directory)) {}

    std::string directory_;
};

// The maps of the program on a device's egress hook: where the BPF file system was private to the
// daemon (as under `ip netns exec`), its pins went with it, but not the programs. Empty: none of
// ours is there.
[[nodiscard]] Maps maps_of_hook(const std::string& device);

}  // namespace dstm::tep::bpf
