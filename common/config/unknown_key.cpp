// An unknown key, and which known one was probably meant.
#include "common/config/unknown_key.hpp"

#include <algorithm>
#include <numeric>

namespace dstm::config {
namespace {

// Levenshtein's distance: characters to add, to remove or to change.
std::size_t distance(std::string_view one, std::string_view other) {
    std::vector<std::size_t> row(other.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 0; i < one.size(); ++i) {
        auto diagonal = std::exchange(row[0], i + 1);
        for (std::size_t j = 0; j < other.size(); ++j) {
            const auto changed = diagonal + (one[i] == other[j] ? 0 : 1);
            diagonal = row[j + 1];
            row[j + 1] = std::min({changed, row[j] + 1, row[j + 1] + 1});
        }
    }
    return row.back();
}

std::string what_is_known(const Node& object, const std::string& key) {
    constexpr std::size_t slip_max = 2;
    const std::string* nearest = nullptr;
    std::string all;
    auto least = std::min(slip_max, key.size() / 2) + 1;
    for (const auto& known : object.known) {
        all += (all.empty() ? "" : ", ") + known;
        const auto slips = distance(key, known);
        if (slips >= least) continue;
        least = slips;
        nearest = &known;
    }
    if (nearest != nullptr) return "; it must be \"" + *nearest + '"';
    return all.empty() ? "" : "; known are " + all;
}

void find_below(const Node& node, const std::string& path, std::vector<Mistake>& mistakes) {
    if (const auto* members = std::get_if<Members>(&node.value)) {
        for (const auto& [key, child] : *members) {
            if (child.is_repeated) continue;  // has been said
            const auto child_path = joined(path, key);
            if (child.wanted) {
                find_below(child, child_path, mistakes);
            } else {
                mistakes.push_back(
                    {child.line, child_path + ": unknown key" + what_is_known(node, key)});
            }
        }
    } else if (const auto* elements = std::get_if<Elements>(&node.value)) {
        for (std::size_t i = 0; i < elements->size(); ++i) {
            find_below((*elements)[i], joined(path, '[' + std::to_string(i) + ']'), mistakes);
        }
    }
}

}  // namespace

void find_unknown(const Node& root, std::vector<Mistake>& mistakes) {
    find_below(root, "", mistakes);
}

}  // namespace dstm::config
