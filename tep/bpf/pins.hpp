// What outlives the daemon: programs and maps of one device in the BPF file system, by name.
// Knows no layout.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "common/base/result.hpp"
#include "common/dataplane/descriptor.hpp"

namespace dstm::tep::bpf {

// Maps by their names in the programs.
using Maps = std::map<std::string, dataplane::Descriptor, std::less<>>;

struct Pin {
    std::string name;
    int descriptor;  // of a map or program
};

class Pins {
public:
    // Of the device of this name in the network namespace that we are in. Mounts the BPF file
    // system where it is missing. unavailable: that cannot be done.
    [[nodiscard]] static Result<Pins> open(const std::string& device);
    // The file system for them is there; open() mounts it otherwise.
    [[nodiscard]] static bool is_mounted();

    [[nodiscard]] const std::string& directory() const { return directory_; }

    [[nodiscard]] bool exist() const;
    // Another device of this network namespace has pins too.
    [[nodiscard]] bool have_neighbours() const;
    // False: this process has not the right to.
    [[nodiscard]] bool may_be_read() const;
    // What is pinned. conflict: something that is not a map of this name. unavailable: no
    // right to read them.
    [[nodiscard]] Result<Maps> maps() const;
    // Those that are what their names say, without the others.
    [[nodiscard]] Maps good_maps() const;
    // These and no others, all in one step: whoever dies in the middle leaves what was there.
    [[nodiscard]] Result<void> replace(const std::vector<Pin>& all) const;
    // All that is pinned, and the directory. conflict: something else is in it, and stays.
    [[nodiscard]] Result<void> remove() const;

private:
    Pins(std::string directory, std::string network)
        : directory_(std::move(directory)),
          network_(std::move(network)),
          fresh_(directory_ + ",new") {}

    std::string directory_;
    std::string network_;  // how the names of all directories of this network namespace end
    std::string fresh_;  // becomes the directory when all is in it
};

// The maps of the program on a device's egress hook: where the BPF file system was private to the
// daemon (as under `ip netns exec`), its pins went with it, but not the programs. Empty: none of
// ours is there.
[[nodiscard]] Maps maps_of_hook(const std::string& device);

}  // namespace dstm::tep::bpf
