// swift-tools-version: 6.0
// The generated Swift, as it is under bindings/, and tests that call the library through it. Run by `cargo xtask swift`,
// which says where the library is.
import PackageDescription

let package = Package(
    name: "RosterKitTests",
    targets: [
        .systemLibrary(name: "RosterKitFFI"),
        .target(name: "RosterKitGenerated", dependencies: ["RosterKitFFI"]),
        .testTarget(name: "RosterKitTests", dependencies: ["RosterKitGenerated"]),
    ]
)
