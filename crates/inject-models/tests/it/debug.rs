use inject_models::*;
use safetensors::SafeTensors;
use crate::fixture::*;
#[test]
fn debug_profile() {
    let models = std::path::PathBuf::from(std::env::var("INJECT_REAL_MODELS").unwrap());
    let name="smollm2-135m";
    let bytes = std::fs::read(std::path::PathBuf::from(std::env::var("INJECT_REAL_GOLDEN").unwrap()).join(name).join("golden.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    for precision in [Precision::F32, Precision::F64] {
        let model = Model::load(Origin::of_folder(&models.join(name)), precision, &burn::tensor::Device::flex()).unwrap();
        let prompt=1;
        let i = ids(&golden(&file, &format!("prompt{prompt}.token_ids"))).remove(0);
        let expected = golden(&file, &format!("prompt{prompt}.states"));
        let noise = golden(&file, &format!("prompt{prompt}.f32_noise"));
        let taps = Tap::all(model.decoder.config().n_layers());
        let f = model.decoder.forward(&TokenBatch::new(&[i.clone()]).unwrap(), &taps, Logits::None).unwrap();
        let (len,d)=(i.len(), expected.shape[2]);
        for (index,tap) in taps.into_iter().enumerate() {
            let found = values(f.states[&tap].clone());
            print!("{precision:?} {tap}: ");
            for pos in [0,5,12,20,23] {
                let e=&expected.values[(index*len+pos)*d..][..d];
                print!(" {:.1e}/{:.1e}({:.0})", distance(&found[pos*d..][..d], e), noise.values[index*len+pos], norm(e));
            }
            println!();
        }
    }
}
#[test]
fn debug_time() {
    let models = std::path::PathBuf::from(std::env::var("INJECT_REAL_MODELS").unwrap());
    let device = burn::tensor::Device::flex();
    let model = Model::load(Origin::of_folder(&models.join("smollm2-135m")), Precision::F32, &device).unwrap();
    for (b,t) in [(1,64),(8,64),(1,512)] {
        let batch = TokenBatch::new(&vec![(0..t as u32).map(|i| i*37%40000).collect::<Vec<u32>>(); b]).unwrap();
        let mut best=f64::MAX;
        for _ in 0..6 { let s=std::time::Instant::now(); let f=model.decoder.forward(&batch,&[Tap::FinalNorm],Logits::None).unwrap(); drop(values(f.states[&Tap::FinalNorm].clone().narrow(1,0,1))); best=best.min(s.elapsed().as_secs_f64()); }
        println!("T forward {b}x{t}: {:.1} ms = {:.0} GFLOP/s", best*1e3, 2.0*106.0e6*(b*t) as f64/best/1e9);
    }
    let mut best=f64::MAX;
    let mut cache = model.decoder.prefix_cache(1, 128, Tap::FinalNorm).unwrap();
    model.decoder.extend(&mut cache, &TokenBatch::new(&[(0..64).collect::<Vec<u32>>()]).unwrap(), &[Tap::FinalNorm], Logits::None).unwrap();
    for i in 0..40 { let s=std::time::Instant::now(); let f=model.decoder.extend(&mut cache,&TokenBatch::new(&[[i]]).unwrap(),&[Tap::FinalNorm],Logits::Last).unwrap(); drop(values(f.logits.unwrap())); best=best.min(s.elapsed().as_secs_f64()); }
    println!("T step with logits: {:.2} ms", best*1e3);
    for c in [64usize,256,512,1024] {
        let ids: Vec<u32> = (0..c as u32).collect();
        let mut best=f64::MAX;
        for _ in 0..4 { let s=std::time::Instant::now(); let f=model.decoder.candidates(&cache,&ids,Tap::Block(30)).unwrap(); drop(values(f.narrow(0,0,1))); best=best.min(s.elapsed().as_secs_f64()); }
        println!("T candidates {c}: {:.1} ms = {:.0} GFLOP/s", best*1e3, 2.0*106.0e6*c as f64/best/1e9);
    }
}
