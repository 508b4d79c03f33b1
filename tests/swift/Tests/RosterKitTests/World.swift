import Foundation
import RosterKitGenerated
import XCTest

let alice = "alice@example.org"
let bob = "bob@example.org"
let carol = "carol@example.org"

/// How long a test waits for what another thread brings about.
let seconds = 10.0

/// A test with a folder and engines of its own.
class WorldTestCase: XCTestCase {
    private(set) var folder = URL(fileURLWithPath: "/")
    /// An engine that nobody holds shuts down, also when its sessions are held.
    private var engines: [Engine] = []

    override func setUpWithError() throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("rosterkit-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    }

    override func tearDownWithError() throws {
        for engine in engines { try engine.shutdown() }
        engines = []
        try FileManager.default.removeItem(at: folder)
    }

    /// Opens an engine on a file in the folder; a new one has three accounts.
    func open() throws -> Engine {
        let file = folder.appendingPathComponent("im.db").path
        let isNew = !FileManager.default.fileExists(atPath: file)
        let engine = try Engine.openFile(path: file, options: EngineOptions(domains: ["example.org"]))
        engines.append(engine)
        if isNew { try [alice, bob, carol].forEach(engine.createAccount) }
        return engine
    }

    /// An engine in virtual time, with three accounts.
    func openVirtual(limits: LimitOptions? = nil) throws -> Engine {
        let options = EngineOptions(domains: ["example.org"], limits: limits)
        let engine = try Engine.openVirtual(path: nil, options: options, seed: 1, startMs: 0)
        engines.append(engine)
        try [alice, bob, carol].forEach(engine.createAccount)
        return engine
    }
}

/// Something that one thread puts there and others wait for.
final class Awaited<Thing: Sendable>: @unchecked Sendable {
    private let condition = NSCondition()
    private var things: [Thing] = []

    func put(_ thing: Thing) {
        condition.withLock {
            things.append(thing)
            condition.broadcast()
        }
    }

    /// Takes the first.
    func next() throws -> Thing {
        let until = Date(timeIntervalSinceNow: seconds)
        return try condition.withLock {
            while things.isEmpty {
                if !condition.wait(until: until) { throw NothingCame() }
            }
            return things.removeFirst()
        }
    }
}

struct NothingCame: Error {}

/// Keeps what it is called with, and does something with it before it returns.
final class Heard: SessionListener {
    private let events = Awaited<Event>()
    private let then: @Sendable (Event) throws -> Void

    init(then: @escaping @Sendable (Event) throws -> Void = { _ in }) { self.then = then }

    func onEvents(batch: EventBatch) throws {
        batch.events.forEach(events.put)
        try batch.events.forEach(then)
    }

    func next() throws -> Event { try events.next() }

    func nextMessage() throws -> Message { try XCTUnwrap(events.next().message) }
}

extension Session {
    /// Waits for one event.
    func next() throws -> Event { try XCTUnwrap(nextEvents(max: 1, timeoutMs: Int64(seconds * 1000)).first) }

    /// What is there already.
    func rest() throws -> [Event] { try nextEvents(max: 100, timeoutMs: 0) }
}

extension Event {
    var message: Message? {
        if case .messageReceived(let message) = body { message } else { nil }
    }

    var text: String? {
        if case .text(let text) = message?.body { text } else { nil }
    }
}

/// Fails unless it is refused; the error is what is looked at.
func refused(_ call: @autoclosure () throws -> some Any, line: UInt = #line) throws -> RosterKitError {
    do {
        _ = try call()
    } catch let error as RosterKitError {
        return error
    }
    XCTFail("it was not refused", line: line)
    throw NothingCame()
}
